"""Fisher information of a last linear layer: how sharply data determine it, by eigenvectors."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from duda.methods.buffers import KeepsDtype
from duda.methods.laplace.gaussian_outputs import OutputCovariance, times
from duda.methods.laplace.information import OutputInformation

__all__ = ["Curvature", "FullCurvature", "KroneckerCurvature"]

_LARGEST = 10_000  # weights whose full covariance takes 0.8 GB
_CHUNK_NUMBERS = 2**22  # that a covariance may take on its way


class Curvature(KeepsDtype, ABC):
    """The Fisher information H of a linear layer's weights and bias: Σ Λ ⊗ φφᵀ over the examples.

    φ are the F inputs of the layer, the last of them 1 if it has a bias, and Λ the information of
    its C outputs. A prior's precision δ adds to each eigenvalue, so that it is never approximated.
    """

    @abstractmethod
    def terms(self, features: Float[Tensor, "N F"], information: OutputInformation) -> list[Tensor]:
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
    ) -> OutputCovariance:
        """Return the covariance of each example's outputs under N(0, (H + δ I)⁻¹).

        No Jacobian is ever made.
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

    def terms(self, features: Float[Tensor, "N F"], information: OutputInformation) -> list[Tensor]:
        """Return Σ φφᵀ and Σ Λ."""
        return [features.T @ features, information.total()]

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
    ) -> OutputCovariance:
        """Return Σ (φᵀ u)² / (λ_u λ_v + δ) over the inputs' u, for each of the outputs' v."""
        scales = 1 / (torch.outer(self.input_values, self.output_values) + precision)
        values = (features @ self.input_vectors).square() @ scales
        return OutputCovariance(values, self.output_vectors)

    def steps(
        self,
        features: Float[Tensor, "N F"],
        noise: Float[Tensor, "m C*F"],
        precision: Float[Tensor, ""],
    ) -> Float[Tensor, "m N C"]:
        """Return V_out E V_inᵀ φ, for E ~ N(0, 1 / (λ_u λ_v + δ)) between eigenvectors u, v."""
        scales = torch.outer(self.output_values, self.input_values) + precision
        drawn = noise.view(-1, *scales.shape) / scales.sqrt()
        return times((features @ self.input_vectors) @ drawn.mT, self.output_vectors)


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

    def terms(self, features: Float[Tensor, "N F"], information: OutputInformation) -> list[Tensor]:
        """Return Σ Λ ⊗ φφᵀ, the rows of one output after those of another."""
        rows = [
            features.T @ (information.row(output)[:, :, None] * features[:, None, :]).flatten(1)
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
    ) -> OutputCovariance:
        """Return J (H + δ I)⁻¹ Jᵀ with J = I ⊗ φᵀ, by its eigenvectors."""
        vectors = self.vectors.view(self.outputs, features.shape[1], -1)
        scales = (self.values + precision).rsqrt()
        found = []
        for few in torch.split(features, max(1, _CHUNK_NUMBERS // (self.outputs * len(scales)))):
            root = torch.einsum("nf,cfp->ncp", few, vectors) * scales
            found.append(_eigen(root @ root.mT))
        values, columns = zip(*found, strict=True)
        return OutputCovariance(torch.cat(values), torch.cat(columns))

    def steps(
        self,
        features: Float[Tensor, "N F"],
        noise: Float[Tensor, "m C*F"],
        precision: Float[Tensor, ""],
    ) -> Float[Tensor, "m N C"]:
        """Return what weights V (λ + δ)^-½ ε make of the features."""
        drawn = (noise / (self.values + precision).sqrt()) @ self.vectors.mT
        return features @ drawn.view(len(noise), self.outputs, -1).mT


def _eigen(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the eigenvalues and -vectors of a matrix without negative eigenvalues."""
    values, vectors = torch.linalg.eigh(matrix)
    # Rounding leaves some just below 0. In rows, a state dict gives the same bits once loaded.
    return values.clamp(min=0), vectors.contiguous()
