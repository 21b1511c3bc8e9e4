"""Knots of piecewise linear maps of probabilities, several maps in one table."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from duda.fitted import check_that

__all__ = ["check_knots"]


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
