"""Gaussian raw outputs, one Gaussian for each example: draws of them, and predictions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import at_least_float32
from duda.likelihoods import Bernoulli, Likelihood
from duda.likelihoods.class_draws import ClassReduction
from duda.likelihoods.numbers import NumberLikelihood
from duda.predictions import ClassPrediction, GaussianPrediction
from duda.predictions.classes import entropy
from duda.sampling import draw_generator

__all__ = [
    "OutputCovariance",
    "drawn_log_probs",
    "exact_moments",
    "gaussian_draws",
    "independent_draws",
    "label_log_probs",
    "probit_labels",
    "probit_log_probs",
    "probit_prediction",
    "times",
]

_CHUNK_NUMBERS = 2**22  # that a chunk of draws may hold
_CHUNK_DIFFERENCES = 2**20  # of two classes of an example


class OutputCovariance(NamedTuple):
    """Covariances V diag(λ) Vᵀ of the outputs of examples; V may be the same for all of them."""

    values: Float[Tensor, "N C"]
    vectors: Float[Tensor, "C C"] | Float[Tensor, "N C C"]

    def steps(self, noise: Float[Tensor, "m N C"]) -> Float[Tensor, "m N C"]:
        """Return what standard normal noise becomes with these covariances."""
        scaled = noise * self.values.sqrt()
        if self.vectors.ndim == 2:
            return times(scaled, self.vectors)
        return torch.einsum("mnv,ncv->mnc", scaled, self.vectors)

    def variances(self) -> Float[Tensor, "N C"]:
        """Return the variance of each output."""
        squares = self.vectors.square()
        if squares.ndim == 2:
            return self.values @ squares.T
        return (squares @ self.values[:, :, None]).squeeze(2)

    def with_others(self, first: int, last: int) -> Float[Tensor, "N c C"]:
        """Return the rows of the covariances from output `first` to before `last`."""
        rows = self.vectors[..., first:last, :] * self.values[:, None, :]
        return times(rows, self.vectors) if self.vectors.ndim == 2 else rows @ self.vectors.mT


def times(rows: Float[Tensor, "*rows C"], matrix: Float[Tensor, "D C"]) -> Tensor:
    """Return each row times a matrix, of which `rows @ matrix.T` would make many copies."""
    return (rows.flatten(0, -2) @ matrix.T).view(*rows.shape[:-1], -1)


def gaussian_draws(
    outputs: Float[Tensor, "N C"],
    shape: tuple[int, ...],
    steps: Callable[[Float[Tensor, "m *shape"]], Float[Tensor, "m N C"]],
    numbers: range,
    seed: int,
    chunk: int | None,
) -> Iterator[Float[Tensor, "m N C"]]:
    """Yield draws about the mean `outputs`.

    Args:
        outputs: the mean.
        shape: of the standard normal noise, in float64, that a draw takes.
        steps: from the noise of some draws to how far they are from the mean.
        numbers: of the draws.
        seed: of the noise, together with the draw's number.
        chunk: draws at a time; chosen by memory if not given.
    """
    size = chunk or max(1, _CHUNK_NUMBERS // max(outputs.numel(), math.prod(shape)))
    for start in range(0, len(numbers), size):
        noise = [
            torch.randn(
                shape,
                generator=draw_generator(seed, number, outputs.device),
                dtype=torch.float64,
                device=outputs.device,
            )
            for number in numbers[start : start + size]
        ]
        yield outputs + steps(torch.stack(noise)).to(outputs.dtype)


def independent_draws(
    outputs: Float[Tensor, "N C"],
    covariance: OutputCovariance,
    numbers: range,
    seed: int,
    chunk: int | None,
) -> Iterator[Float[Tensor, "m N C"]]:
    """Yield draws from Gaussians with mean `outputs`, for each example by itself."""
    return gaussian_draws(outputs, outputs.shape, covariance.steps, numbers, seed, chunk)


def drawn_log_probs(
    outputs: Float[Tensor, "N C"],
    covariance: OutputCovariance,
    samples: int,
    logits: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Return the logarithm of the mean probabilities of draws, always by the same noise.

    Each has its mirror image, so that the mean of the draws is that of the Gaussian.
    """
    reduction = ClassReduction(False, logits)
    for draws in independent_draws(outputs, covariance, range(-(-samples // 2)), 0, None):
        reduction.add(draws)
        reduction.add(2 * outputs - draws)
    return reduction.result().log_probs


def probit_prediction(
    outputs: Float[Tensor, "N C"], covariance: OutputCovariance, drawn: ClassPrediction
) -> ClassPrediction:
    """Return mean-field probit probabilities, with the votes and the mean entropy of draws."""
    return _as_drawn(probit_log_probs(outputs.double(), covariance), drawn)


def probit_labels(
    likelihood: Bernoulli,
    outputs: Float[Tensor, "N L"],
    covariance: OutputCovariance,
    drawn: ClassPrediction,
) -> ClassPrediction:
    """Return the same of each label, `(N, 2, L)`."""
    return _as_drawn(label_log_probs(likelihood, outputs.double(), covariance), drawn)


def label_log_probs(
    likelihood: Bernoulli, mean: Float[Tensor, "N L"], covariance: OutputCovariance
) -> Float[Tensor, "N 2 L"]:
    """Return log-probabilities that labels are false, and true: σ(±μ / √(1 + π/8 Var f)).

    Source: MacKay 1992, "The evidence framework applied to classification networks", eq. 19.
    """
    spread = (1 + math.pi / 8 * covariance.variances()).sqrt()
    return (likelihood.two_classes(mean[None])[0] / spread.unsqueeze(1)).log_softmax(1)


def _as_drawn(exact: Tensor, drawn: ClassPrediction) -> ClassPrediction:
    log_probs = exact.to(drawn.log_probs.dtype)
    # The probabilities are approximate, so that their entropy may fall below that mean.
    aleatoric = torch.minimum(drawn.aleatoric, entropy(log_probs, dim=1))
    return ClassPrediction(log_probs, aleatoric, drawn.votes, drawn.draws)


def probit_log_probs(
    mean: Float[Tensor, "N C"], covariance: OutputCovariance
) -> Float[Tensor, "N C"]:
    """Return the logarithms of mean-field probit probabilities, some classes at a time.

    1 / p_c = Σ_k exp(-(μ_c - μ_k) / √(1 + π/8 Var[f_c - f_k])), scaled to sum 1; the error grows
    with the number of classes. Sources: MacKay 1992, "The evidence framework applied to
    classification networks", which it is for two classes; Lu, Ie & Sha 2020, "mf2".
    """
    variance, found = covariance.variances(), torch.empty_like(mean)
    size = max(1, _CHUNK_DIFFERENCES // max(1, mean.numel()))
    for first in range(0, mean.shape[1], size):
        few = slice(first, first + size)
        between = variance[:, few, None] + variance[:, None, :]
        between -= 2 * covariance.with_others(first, first + size)
        gaps = (mean[:, None, :] - mean[:, few, None]) / (1 + math.pi / 8 * between).sqrt()
        found[:, few] = -gaps.logsumexp(2)
    return found.log_softmax(1)


def exact_moments(
    likelihood: Likelihood, outputs: Float[Tensor, "N C"], covariance: OutputCovariance
) -> GaussianPrediction:
    """Return the moments that infinitely many draws would have.

    The mean variance is an integral in one dimension for each raw scale, by the trapezoidal rule
    on 201 points within 8 standard deviations.
    """
    std = covariance.variances().sqrt()
    mean = likelihood.moments(outputs.double())[0]  # type: ignore[attr-defined]
    points = torch.linspace(-8, 8, 201, dtype=torch.float64)
    aleatoric = torch.zeros_like(mean)
    for point, weight in zip(points.tolist(), (-points.square() / 2).softmax(0), strict=True):
        moved = likelihood.moments(outputs.double() + point * std)  # type: ignore[attr-defined]
        aleatoric += float(weight) * moved[1]
    dtype = at_least_float32(outputs).dtype
    epistemic = std[:, : mean.shape[1]].square()
    answer = GaussianPrediction(mean.to(dtype), aleatoric.to(dtype), epistemic.to(dtype))
    return cast(NumberLikelihood, likelihood).in_target_units(answer)
