"""Ellipsoids that hold several numbers together with some probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from duda.checks import ArrayLike
from duda.predictions.validity import numbers_like
from duda.shown import Shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Ellipsoids"]


@dataclass(frozen=True, eq=False, repr=False)
class Ellipsoids(Shown):
    """For each example all numbers within one Mahalanobis distance of its center.

    Args:
        center: in units of the target, float64.
        axes: the half axes as columns, the longest last, likewise.
        level: the probability that they are made for.
    """

    center: Float[Tensor, "N D *positions"]
    axes: Float[Tensor, "N D D *positions"]
    level: float

    def distances(self, y: ArrayLike) -> Float[Tensor, "N *positions"]:
        """Return how far targets are from the center, in parts of the way to the surface."""
        gap = (numbers_like(self.center, y) - self.center).movedim(1, -1)
        axes = self.axes.movedim((1, 2), (-2, -1))
        lengths = torch.linalg.vector_norm(axes, dim=-2)
        along = (axes.mT @ gap.unsqueeze(-1)).squeeze(-1) / lengths.square()
        found: Tensor = torch.linalg.vector_norm(along, dim=-1)
        return found

    def contains(self, y: ArrayLike) -> Bool[Tensor, "N *positions"]:
        """Return whether targets `(N, D, *positions)` lie inside, the surface included."""
        return self.distances(y) <= 1

    def plot(self, y: ArrayLike | None = None, *, ax: Axes | None = None) -> Axes:
        """Draw those of two numbers as ellipses, with the targets if they are given.

        Raises:
            ValueError: if they are of more or fewer numbers, or have positions.
        """
        from duda.plots.ellipses import ellipses

        if self.center.ndim != 2 or self.center.shape[1] != 2:
            raise ValueError(
                f"`center` has shape {tuple(self.center.shape)}, expected (N, 2) to draw ellipses: "
                "predict two outputs, or draw the intervals of each."
            )
        targets = None if y is None else numbers_like(self.center, y)
        return ellipses(self.center, self.axes, targets, level=self.level, ax=ax)
