"""P-values of counts: how likely one is, were every probability true."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["p_value_of_count"]

_ENOUGH = 100.0  # a variance from which a sum of coins is as good as normal
_TAIL = 12  # standard deviations, beyond which nothing is left


def p_value_of_count(probs: Float[Tensor, "N"], count: int) -> float:
    """Return how often as unlikely a number of events happens by chance, on either side.

    Twice the smaller tail of the Poisson binomial distribution, by its characteristic function;
    from a variance of 100 on by the normal distribution with a correction for whole numbers.
    Source: Hong 2013, section 2.3.

    Args:
        probs: of each of N independent events.
        count: how many of them happened.

    >>> round(p_value_of_count(torch.full((10,), 0.5), 1), 6)  # 2 * (1 + 10) / 1024
    0.021484
    """
    probs = probs.double()
    missed, happened = 1 - probs, len(probs) - count
    variance = float((probs * missed).sum())
    if variance > _ENOUGH:
        distance = abs(float(missed.sum()) - happened) - 0.5
        return min(1.0, math.erfc(distance / math.sqrt(2 * variance)))
    if float(missed.sum()) > len(probs) / 2:  # few happen: count these
        missed, happened = probs, count
    pmf = _few(missed, variance)
    at_most = float(pmf[: happened + 1].sum())
    at_least = float(pmf[happened:].sum())
    return min(1.0, 2 * min(at_most, at_least))


def _few(probs: Float[Tensor, "N"], variance: float) -> Float[Tensor, "K"]:
    """Return the probabilities of 0, 1, ... events, as far as there is something to tell."""
    most = float(probs.sum()) + _TAIL * (math.sqrt(variance) + 1)
    size = min(len(probs), math.ceil(most)) + 1
    turns = torch.exp(2j * math.pi * torch.arange(size, dtype=torch.float64) / size)
    waves = torch.ones_like(turns)
    for some in torch.split(probs, 4096):
        waves = waves * (1 + some[:, None] * (turns - 1)).prod(0)
    pmf: Tensor = torch.fft.fft(waves).real.clamp(min=0) / size
    return pmf
