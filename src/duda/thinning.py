"""Thinning of curves: one of millions of points looks like one of hundreds."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

__all__ = ["thinned"]


def thinned(count: int, most: int = 500) -> Int[Tensor, "K"]:
    """Return the numbers of at most so many points of `count`, evenly, from the first to the last.

    >>> thinned(9, most=3)
    tensor([0, 4, 8])
    """
    # In double precision, since in single the last of 50 million would lie beyond them.
    return torch.linspace(0, count - 1, min(count, most), dtype=torch.float64).round().long()
