"""Clopper-Pearson bounds: exact bounds on a rate that has been counted."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_same_shape

__all__ = ["fewest_without_event", "upper_rate"]


def upper_rate(events: ArrayLike, trials: ArrayLike, confidence: float) -> Float[Tensor, "*shape"]:
    """Return the rate that is not exceeded with at least the given confidence; 1 without trials.

    Source: Clopper & Pearson 1934: the rate at which so few events have probability 1 - confidence.

    Args:
        events: `(*shape)`, how many there were, in
        trials: `(*shape)`, independent trials of one rate.
        confidence: between 0 and 1.

    >>> upper_rate(0, 299, 0.95)
    tensor(0.0100, dtype=torch.float64)
    """
    from scipy.special import betaincinv

    counts, totals = (
        as_tensor(value, name).cpu().long()
        for value, name in ((events, "events"), (trials, "trials"))
    )
    check_same_shape(totals, "trials", tuple(counts.shape), "`events`")
    if bool(((counts < 0) | (counts > totals)).any()):
        raise ValueError("`events` has a count below 0 or above that of `trials`.")
    missed = (totals - counts).clamp(min=1)
    bound = betaincinv((counts + 1).numpy(), missed.numpy(), confidence)
    return torch.where(counts < totals, as_tensor(bound, "bound"), 1.0)


def fewest_without_event(rate: float, confidence: float) -> int:
    """Return how many trials without an event show that its rate is at most `rate`.

    >>> fewest_without_event(0.01, confidence=0.95)
    299
    """
    return math.ceil(math.log(1 - confidence) / math.log1p(-rate))
