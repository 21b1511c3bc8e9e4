"""Ties of scores: in order, equal ones together, from a single sort."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int, Num, Shaped
from torch import Tensor

from duda.evaluation.sums import cumulated

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
        return cumulated(values.index_select(0, self.order)).index_select(0, self.ends)


def tied_runs(scores: Shaped[Tensor, "N"], *, descending: bool = False) -> TiedRuns:
    """Return `scores` in order as runs of equal ones; -0 equals 0, and infinities themselves.

    >>> tied_runs(torch.tensor([0.4, 0.1, 0.4])).ends
    tensor([0, 2])
    """
    order = _order(scores)
    if descending:
        order = order.flip(0)
    ordered = scores.index_select(0, order)
    last = torch.ones_like(order, dtype=torch.bool)
    last[:-1] = ordered[1:] != ordered[:-1]
    ends = _places(last)
    return TiedRuns(ordered.index_select(0, ends), order, ends)


# On a processor numpy is several times quicker: torch's sort is stable, which ties need not be.
def _order(scores: Shaped[Tensor, "N"]) -> Int[Tensor, "N"]:
    if scores.device.type == "cpu":
        return torch.from_numpy(np.argsort(scores.numpy()))
    return scores.argsort()


def _places(mask: Bool[Tensor, "N"]) -> Int[Tensor, "K"]:
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.nonzero().squeeze(1)
