"""Gaussian raw outputs, one Gaussian for each example: draws of them, and predictions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import at_least_float32
from duda.likelihoods import Likelihood
from duda.predictions import ClassPrediction, GaussianPrediction
from duda.predictions.classes import entropy
from duda.sampling import draw_generator

__all__ = ["exact_moments", "gaussian_draws", "independent_draws", "probit_prediction"]

_CHUNK_NUMBERS = 2**22  # that a chunk of draws may hold


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
    covariance: tuple[Tensor, Tensor],
    numbers: range,
    seed: int,
    chunk: int | None,
) -> Iterator[Float[Tensor, "m N C"]]:
    """Yield draws from Gaussians with mean `outputs`, for each example by itself."""
    values, vectors = covariance

    def steps(noise: Tensor) -> Tensor:
        return torch.einsum("mnv,ncv->mnc", noise * values.sqrt(), vectors)

    return gaussian_draws(outputs, tuple(values.shape), steps, numbers, seed, chunk)


def probit_prediction(
    outputs: Float[Tensor, "N C"], covariance: tuple[Tensor, Tensor], drawn: ClassPrediction
) -> ClassPrediction:
    """Return mean-field probit probabilities, with the votes and the mean entropy of draws.

    1 / p_c = Σ_k exp(-(μ_c - μ_k) / √(1 + π/8 Var[f_c - f_k])), scaled to sum 1; the error grows
    with the number of classes. Sources: MacKay 1992, "The evidence framework applied to
    classification networks", which it is for two classes; Lu, Ie & Sha 2020, "mf2".
    """
    mean, (values, vectors) = outputs.double(), covariance
    full = (vectors * values[:, None, :]) @ vectors.mT
    variance = full.diagonal(dim1=1, dim2=2)
    between = variance[:, :, None] + variance[:, None, :] - 2 * full
    gaps = (mean[:, :, None] - mean[:, None, :]) / (1 + math.pi / 8 * between).sqrt()
    log_probs = (-(-gaps).logsumexp(2)).log_softmax(1).to(at_least_float32(outputs).dtype)
    # The probabilities are approximate, so that their entropy may fall below that mean.
    aleatoric = torch.minimum(drawn.aleatoric, entropy(log_probs, dim=1))
    return ClassPrediction(log_probs, aleatoric, drawn.votes, drawn.draws)


def exact_moments(
    likelihood: Likelihood, outputs: Float[Tensor, "N C"], covariance: tuple[Tensor, Tensor]
) -> GaussianPrediction:
    """Return the moments that infinitely many draws would have.

    The mean variance is an integral in one dimension for each raw scale, by the trapezoidal rule
    on 201 points within 8 standard deviations.
    """
    values, vectors = covariance
    std = (vectors.square() @ values[:, :, None]).squeeze(2).sqrt()
    mean = likelihood.moments(outputs.double())[0]  # type: ignore[attr-defined]
    points = torch.linspace(-8, 8, 201, dtype=torch.float64)
    aleatoric = torch.zeros_like(mean)
    for point, weight in zip(points.tolist(), (-points.square() / 2).softmax(0), strict=True):
        moved = likelihood.moments(outputs.double() + point * std)  # type: ignore[attr-defined]
        aleatoric += float(weight) * moved[1]
    dtype = at_least_float32(outputs).dtype
    epistemic = std[:, : mean.shape[1]].square()
    return GaussianPrediction(mean.to(dtype), aleatoric.to(dtype), epistemic.to(dtype))
