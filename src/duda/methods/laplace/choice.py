"""Choice of the prior precision, and of noise that is to be learned: by validation, or evidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from duda.likelihoods import Likelihood
from duda.methods.laplace.curvature import Curvature
from duda.methods.laplace.evidence import best_noise, best_precision
from duda.methods.laplace.gaussian_outputs import OutputCovariance
from duda.methods.laplace.training_sums import Pass, TrainingSums
from duda.methods.laplace.validation import noise_and_precision, validation_precision

__all__ = ["Choice", "by_evidence", "by_validation", "with_noise"]


class Choice(NamedTuple):
    """The prior precision δ, and the variance of noise that is to be learned, else 1."""

    precision: Tensor
    noise: Tensor


def by_validation(
    held: Sequence[Pass],
    curvature: Curvature,
    likelihood: Likelihood,
    log_probs: Callable[[Tensor, OutputCovariance], Tensor],
) -> Choice:
    """Return what has the least -log p of held-out targets; δ = ∞ leaves the plain network.

    Args:
        held: the data.
        curvature: H, for noise 1 if that is to be learned.
        likelihood: what the outputs mean.
        log_probs: how the model predicts classes.

    Raises:
        ValueError: if there is no example with a target.
    """
    held = [batch for batch in held if len(batch.y)]
    if not held:
        raise ValueError("`validation` has no example with a target, expected some.")
    if likelihood.learns_noise:
        noise, precision = noise_and_precision(held, curvature, likelihood)
    else:
        noise, precision = 1.0, validation_precision(held, curvature, likelihood, log_probs)
    like = held[0].features
    return Choice(like.new_tensor(precision), like.new_tensor(noise))


def by_evidence(
    sums: TrainingSums,
    curvature: Curvature,
    squared_norm: Tensor,
    learns_noise: bool,
    given: float | None,
) -> Choice:
    """Return what has the greatest marginal likelihood.

    Args:
        sums: over the training data, for noise 1 if that is to be learned.
        curvature: H, likewise.
        squared_norm: of the weights.
        learns_noise: whether it is.
        given: δ, if it is not to be chosen.
    """
    values, noise = curvature.eigenvalues(), torch.ones_like(squared_norm)
    if learns_noise:
        squares = -2 * (sums.log_likelihood + _constant(sums))
        noise = best_noise(values, squared_norm, squares, sums.numbers, given)
    if given is not None:
        return Choice(torch.full_like(noise, given), noise)
    return Choice(best_precision(values / noise, squared_norm), noise)


def with_noise(sums: TrainingSums, noise: Tensor) -> Tensor:
    """Return Σ log p(y | x) with another variance of the noise than 1."""
    constant = _constant(sums)
    return (sums.log_likelihood + constant) / noise - constant - sums.numbers / 2 * noise.log()


def _constant(sums: TrainingSums) -> float:
    return 0.5 * sums.numbers * math.log(2 * math.pi) + sums.log_units
