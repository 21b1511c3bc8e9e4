"""Fisher information of a last linear layer: how sharply data determine it, by eigenvectors."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from duda.likelihoods import Categorical, Gaussian, Likelihood
from duda.methods.buffers import KeepsDtype

__all__ = [
    "Curvature",
    "FullCurvature",
    "KroneckerCurvature",
    "best_noise",
    "best_precision",
    "output_information",
]

_LARGEST = 10_000  # weights whose full covariance takes 0.8 GB
_ITERATIONS, _NEAR = 1000, 1e-10  # for the noise
_HALVINGS = 100  # of an interval of logarithms, down to the last digits


def output_information(
    likelihood: Likelihood, outputs: Float[Tensor, "N C"]
) -> Float[Tensor, "N C C"]:
    """Return the Fisher information of each example's raw outputs.

    For classes diag(p) - p pᵀ; for Gaussians 1 / σ² of a mean, and ½ (dσ²/ds / σ²)² of a raw scale
    s, which no other output has a part in. Sources: Martens 2020, section 9.2, for classes, where
    it is the Hessian; the Fisher information of a Gaussian's mean and variance.

    >>> output_information(Categorical(), torch.zeros(1, 2))
    tensor([[[ 0.2500, -0.2500],
             [-0.2500,  0.2500]]])
    """
    if isinstance(likelihood, Categorical):
        probs = outputs.softmax(1)
        return torch.diag_embed(probs) - probs[:, :, None] * probs[:, None, :]
    mean, variance = likelihood.moments(outputs)  # type: ignore[attr-defined]
    each = [1 / variance]
    if isinstance(likelihood, Gaussian):
        slope = outputs[:, mean.shape[1] :].sigmoid()  # of the softplus
        each.append(0.5 * (slope / variance).square())
    return torch.diag_embed(torch.cat(each, dim=1))


class Curvature(KeepsDtype, ABC):
    """The Fisher information H of a linear layer's weights and bias: Σ Λ ⊗ φφᵀ over the examples.

    φ are the F inputs of the layer, the last of them 1 if it has a bias, and Λ the information of
    its C outputs. A prior's precision δ adds to each eigenvalue, so that it is never approximated.
    """

    @abstractmethod
    def terms(
        self, features: Float[Tensor, "N F"], information: Float[Tensor, "N C C"]
    ) -> list[Tensor]:
        """Return what is to be summed over all batches."""

    @abstractmethod
    def take(self, sums: list[Tensor], examples: int) -> None:
        """Take in the sums over all examples."""

    @abstractmethod
    def scale(self, factor: Float[Tensor, ""]) -> None:
        """Multiply H, as another noise does."""

    @abstractmethod
    def eigenvalues(self) -> Float[Tensor, "C*F"]:
        """Return the eigenvalues of H."""

    @abstractmethod
    def output_covariance(
        self, features: Float[Tensor, "N F"], precision: Float[Tensor, ""]
    ) -> tuple[Float[Tensor, "N C"], Float[Tensor, "N C C"]]:
        """Return the covariance of each example's outputs under N(0, (H + δ I)⁻¹).

        Its eigenvalues, and its eigenvectors as columns; no Jacobian is ever made.
        """

    @abstractmethod
    def steps(
        self,
        features: Float[Tensor, "N F"],
        noise: Float[Tensor, "m C*F"],
        precision: Float[Tensor, ""],
    ) -> Float[Tensor, "m N C"]:
        """Return the outputs that weights drawn from N(0, (H + δ I)⁻¹) make of the features.

        Args:
            features: of some examples.
            noise: standard normal, for each draw of the weights; turned into these.
            precision: δ.
        """


class KroneckerCurvature(Curvature):
    """H as (Σ Λ) ⊗ (Σ φφᵀ) / N, exact for one example and wherever Λ is the same for all.

    Source: Martens & Grosse 2015, section 3; Ritter et al. 2018, section 3.
    """

    input_values: Tensor
    input_vectors: Tensor
    output_values: Tensor
    output_vectors: Tensor

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        for name, size in (("input", features), ("output", outputs)):
            self.register_buffer(f"{name}_values", torch.zeros(size, dtype=torch.float64))
            self.register_buffer(f"{name}_vectors", torch.zeros(size, size, dtype=torch.float64))

    def terms(
        self, features: Float[Tensor, "N F"], information: Float[Tensor, "N C C"]
    ) -> list[Tensor]:
        """Return Σ φφᵀ and Σ Λ."""
        return [features.T @ features, information.sum(0)]

    def take(self, sums: list[Tensor], examples: int) -> None:
        """Take in both sums; the first becomes a mean."""
        self.input_values, self.input_vectors = _eigen(sums[0] / examples)
        self.output_values, self.output_vectors = _eigen(sums[1])

    def scale(self, factor: Float[Tensor, ""]) -> None:
        """Multiply H, as another noise does."""
        self.output_values = self.output_values * factor

    def eigenvalues(self) -> Float[Tensor, "C*F"]:
        """Return all products of an eigenvalue of each factor."""
        return torch.outer(self.output_values, self.input_values).flatten()

    def output_covariance(
        self, features: Float[Tensor, "N F"], precision: Float[Tensor, ""]
    ) -> tuple[Float[Tensor, "N C"], Float[Tensor, "N C C"]]:
        """Return Σ (φᵀ u)² / (λ_u λ_v + δ) over the inputs' u, for each of the outputs' v."""
        scales = 1 / (torch.outer(self.input_values, self.output_values) + precision)
        values = (features @ self.input_vectors).square() @ scales
        return values, self.output_vectors.expand(len(features), -1, -1)

    def steps(
        self,
        features: Float[Tensor, "N F"],
        noise: Float[Tensor, "m C*F"],
        precision: Float[Tensor, ""],
    ) -> Float[Tensor, "m N C"]:
        """Return V_out E V_inᵀ φ, for E ~ N(0, 1 / (λ_u λ_v + δ)) between eigenvectors u, v."""
        scales = torch.outer(self.output_values, self.input_values) + precision
        drawn = noise.view(-1, *scales.shape) / scales.sqrt()
        return (features @ self.input_vectors) @ drawn.mT @ self.output_vectors.mT


class FullCurvature(Curvature):
    """H as it is, for layers with up to 10,000 weights and biases."""

    values: Tensor
    vectors: Tensor

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        size = features * outputs
        if size > _LARGEST:
            raise ValueError(
                f"`structure` is 'full', but the last layer has {size:,} weights and biases, "
                f"expected at most {_LARGEST:,}: use 'kron'."
            )
        self.outputs = outputs
        self.register_buffer("values", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("vectors", torch.zeros(size, size, dtype=torch.float64))

    def terms(
        self, features: Float[Tensor, "N F"], information: Float[Tensor, "N C C"]
    ) -> list[Tensor]:
        """Return Σ Λ ⊗ φφᵀ, the rows of one output after those of another."""
        rows = [
            features.T @ (information[:, output, :, None] * features[:, None, :]).flatten(1)
            for output in range(self.outputs)
        ]
        return [torch.cat(rows)]

    def take(self, sums: list[Tensor], examples: int) -> None:
        """Take in the sum."""
        self.values, self.vectors = _eigen(sums[0])

    def scale(self, factor: Float[Tensor, ""]) -> None:
        """Multiply H, as another noise does."""
        self.values = self.values * factor

    def eigenvalues(self) -> Float[Tensor, "C*F"]:
        """Return the eigenvalues of H."""
        return self.values

    def output_covariance(
        self, features: Float[Tensor, "N F"], precision: Float[Tensor, ""]
    ) -> tuple[Float[Tensor, "N C"], Float[Tensor, "N C C"]]:
        """Return the eigenvalues and -vectors of J (H + δ I)⁻¹ Jᵀ with J = I ⊗ φᵀ."""
        vectors = self.vectors.view(self.outputs, features.shape[1], -1)
        root = torch.einsum("nf,cfp->ncp", features, vectors) / (self.values + precision).sqrt()
        return _eigen(root @ root.mT)

    def steps(
        self,
        features: Float[Tensor, "N F"],
        noise: Float[Tensor, "m C*F"],
        precision: Float[Tensor, ""],
    ) -> Float[Tensor, "m N C"]:
        """Return what weights V (λ + δ)^-½ ε make of the features."""
        drawn = (noise / (self.values + precision).sqrt()) @ self.vectors.mT
        return features @ drawn.view(len(noise), self.outputs, -1).mT


def best_precision(
    eigenvalues: Float[Tensor, "P"], squared_norm: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """Return the δ with the greatest marginal likelihood: that with δ |θ*|² = Σ λ / (λ + δ).

    The left side grows with δ and the right one falls, so that there is one such δ, between what
    the right side's bounds give. Source: MacKay 1992, "Bayesian interpolation": 2 α E_W = γ.
    """

    def determined(precision: Tensor) -> Tensor:
        return (eigenvalues / (eigenvalues + precision)).sum()

    high = (eigenvalues > 0).sum() / squared_norm
    low = determined(high) / squared_norm
    if not (low > 0 and high.isfinite()):
        raise ValueError(
            "`prior_precision` cannot be chosen by the marginal likelihood, because the last "
            "layer's weights are all 0, or the outputs beyond doubt for all training examples: "
            "give one."
        )
    low, high = low.log(), high.log()
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        below = middle.exp() * squared_norm < determined(middle.exp())
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return high.exp()


def best_noise(
    eigenvalues: Float[Tensor, "P"],
    squared_norm: Float[Tensor, ""],
    squares: Float[Tensor, ""],
    numbers: int,
    precision: float | None = None,
) -> Float[Tensor, ""]:
    """Return the variance of the noise with the greatest marginal likelihood, together with δ.

    It is the sum of the squared errors by the targets less the weights that these determine, found
    by iteration. Source: MacKay 1992, "Bayesian interpolation": 2 β E_D = N - γ.

    Args:
        eigenvalues: of H with noise 1.
        squared_norm: of the weights.
        squares: the sum of the squared errors.
        numbers: of the targets, N.
        precision: δ, if it is given.
    """
    if not squares > 0:
        raise ValueError(
            "`noise_std` cannot be learned, because the network fits all targets exactly: give "
            "`duda.FixedGaussian(noise_std=...)`."
        )
    variance = squares / numbers
    for _ in range(_ITERATIONS):
        values = eigenvalues / variance
        delta = best_precision(values, squared_norm) if precision is None else precision
        determined = (values / (values + delta)).sum()
        before, variance = variance, squares / (numbers - determined)
        if bool((variance / before - 1).abs() < _NEAR):
            break
    return variance


def _eigen(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues and -vectors of a matrix without negative eigenvalues."""
    values, vectors = torch.linalg.eigh(matrix)
    # Rounding leaves some just below 0. In rows, a state dict gives the same bits once loaded.
    return values.clamp(min=0), vectors.contiguous()
