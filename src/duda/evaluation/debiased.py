"""Debiased calibration errors of bins: less what chance adds to them. Source: Kumar et al. 2019."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["absolute_errors", "squared_errors"]


def squared_errors(
    gaps: Float[Tensor, "*C B"], accuracy: Float[Tensor, "*C B"], counts: Int[Tensor, "*C B"]
) -> Float[Tensor, "*C B"]:
    """Return squared gaps less the variance of each accuracy: unbiased, 0 for a single example."""
    chance = accuracy * (1 - accuracy) / (counts - 1)
    return torch.where(counts > 1, gaps.square() - chance, 0.0)


def absolute_errors(
    gaps: Float[Tensor, "*C B"], accuracy: Float[Tensor, "*C B"], counts: Int[Tensor, "*C B"]
) -> Float[Tensor, "*C B"]:
    """Return the size of gaps less its rise, were each accuracy redrawn from the normal around it.

    It is a closed form, where the source draws samples.
    """
    spread = (accuracy * (1 - accuracy) / counts).sqrt()
    size = gaps.abs()
    inside = torch.erf(size / (spread * 2**0.5))
    tails = torch.exp(-(size / spread).square() / 2)
    folded = size * inside + spread * (2 / math.pi) ** 0.5 * tails
    return 2 * size - torch.where(spread > 0, folded, size)
