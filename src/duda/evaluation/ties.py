"""Ties of scores: in order, equal ones together, from a single sort."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int, Num, Shaped
from torch import Tensor

__all__ = ["TiedRuns", "tied_runs"]


class TiedRuns(NamedTuple):
    """N scores in order, as K runs of equal ones.

    Args:
        distinct: `(K)`, the scores, each once.
        order: `(N)`, the examples in order; it means nothing within a run.
        ends: `(K)`, where in `order` each run ends.
    """

    distinct: Shaped[Tensor, "K"]
    order: Int[Tensor, "N"]
    ends: Int[Tensor, "K"]

    def cumulated(self, values: Num[Tensor, "N"]) -> Num[Tensor, "K"]:
        """Return the sum of the examples' `values` up to the end of each run."""
        sums = values.numpy()[self.order.numpy()].cumsum()
        return torch.from_numpy(sums[self.ends.numpy()])


def tied_runs(scores: Shaped[Tensor, "N"], *, descending: bool = False) -> TiedRuns:
    """Return `scores` in order as runs of equal ones; -0 equals 0, and infinities themselves.

    >>> tied_runs(torch.tensor([0.4, 0.1, 0.4])).ends
    tensor([0, 2])
    """
    # Several times quicker than torch's sort, which is stable: ties need not be.
    values = scores.numpy()
    order = np.argsort(values)
    if descending:
        order = order[::-1].copy()
    ordered = values[order]
    last = np.append(ordered[1:] != ordered[:-1], True)
    ends = np.flatnonzero(last)
    return TiedRuns(*map(torch.from_numpy, (ordered[ends], order, ends)))
