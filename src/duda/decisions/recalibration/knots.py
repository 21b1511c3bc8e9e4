"""Knots of piecewise linear maps of probabilities, several maps in one table."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from duda.fitted import check_that

__all__ = ["check_knots", "joined"]


def check_knots(knots: Float[Tensor, "K 3"]) -> None:
    """Raise a `ValueError` unless each map is one of probabilities that never descends.

    Args:
        knots: the number of the map, where the knot lies, and how high, in ascending order.
    """
    maps, steps = sorted(set(knots[:, 0].tolist())), knots.diff(dim=0)
    check_that(maps == list(range(len(maps))), "`knots` are not of maps 0, 1, 2 and so on")
    check_that((knots[:, 1:] >= 0) & (knots[:, 1:] <= 1), "`knots` are not all between 0 and 1")
    within = steps[:, 0] == 0
    check_that((steps[:, 0] >= 0) & (steps[within] >= 0).all(), "`knots` descend")


def joined(
    knots: Float[Tensor, "K 3"], number: int, at: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Return how high a map is at some places: between knots on a line, beyond them as the last.

    >>> joined(torch.tensor([[0.0, 0.0, 0.0], [0.0, 1.0, 0.5]]), 0, torch.tensor([0.5, 2.0]))
    tensor([0.2500, 0.5000])
    """
    places, heights = knots[knots[:, 0] == number, 1:].to(at.device).t().contiguous()
    above = torch.searchsorted(places, at.contiguous(), right=True)
    left, right = (above - 1).clamp(min=0), above.clamp(max=len(places) - 1)
    width = places[right] - places[left]
    slope = torch.where(width > 0, (heights[right] - heights[left]) / width, 0.0)
    found: Tensor = heights[left] + slope * (at - places[left])
    return found
