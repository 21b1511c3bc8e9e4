"""Bins of confidence, uniform or by quantiles, and what is counted in each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from duda.checks import check_count
from duda.evaluation.rows import Kind, Rows
from duda.evaluation.sums import summed_by
from duda.ordered import quantiles
from duda.shown import Shown

__all__ = ["Binning", "Bins", "Reduction", "Tally", "is_uniform", "reduced"]

Binning = Literal["uniform", "quantile"]
Reduction = Literal["sum", "mean", "weighted"]
# examples, right ones, the sum of their confidences p and that of p (1 - p), in each bin
Tally = tuple[Tensor, Tensor, Tensor, Tensor]


def is_uniform(binning: Binning) -> bool:
    """Return whether bins are to have equal widths, not equally many examples."""
    if binning not in ("uniform", "quantile"):
        raise ValueError(f"`binning` is {binning!r}, expected 'uniform' or 'quantile'.")
    return binning == "uniform"


def reduced(
    surplus: Float[Tensor, "*R B"], counts: Int[Tensor, "*C B"], reduction: Reduction
) -> Float[Tensor, "*R"]:
    """Return |accuracy - confidence| of the bins as one number for each row; empty bins are out.

    Args:
        surplus: right ones less the sum of confidences, in each bin.
        counts: examples in each bin.
        reduction: the `"sum"` over bins, their `"mean"`, or `"weighted"` by their examples.
    """
    if reduction == "sum":
        return (surplus / counts).abs().nansum(-1)
    if reduction == "mean":
        return (surplus / counts).abs().nanmean(-1)
    if reduction == "weighted":
        return surplus.abs().sum(-1) / counts.sum(-1)
    raise ValueError(f"`reduction` is {reduction!r}, expected 'sum', 'mean' or 'weighted'.")


@dataclass(frozen=True, eq=False, repr=False)
class Bins(Shown):
    """B bins, each with its lower edge, the last also with its upper one.

    Args:
        edges: `(*C, B + 1)`, ascending, float64; one row if all classes share it.
        uniform: whether they are of equal width.
    """

    edges: Float[Tensor, "*C B+1"]
    uniform: bool

    @classmethod
    def of_equal_width(cls, bins: int, device: torch.device | str = "cpu") -> Bins:
        """Return bins of equal width from 0 to 1."""
        bins = check_count(bins, "bins")
        # k / B is the float64 nearest to it, so a confidence of 0.6 lies on the edge 3 / 5.
        numerators = torch.arange(bins + 1, dtype=torch.float64, device=device)
        return cls(numerators / bins, uniform=True)

    @classmethod
    def of_equal_counts(cls, confidence: Float[Tensor, "N *C"], bins: int) -> Bins:
        """Return bins between quantiles; ties leave some bins empty, and are never split."""
        bins = check_count(bins, "bins")
        shares = torch.arange(1, bins, dtype=torch.float64) / bins
        inner = quantiles(confidence.double(), shares)
        ends = torch.zeros_like(confidence[:1], dtype=torch.float64)
        return cls(torch.cat([ends, inner, ends + 1]).t(), uniform=False)

    def __len__(self) -> int:
        return self.edges.shape[-1] - 1

    def index(self, values: Float[Tensor, "n *C"]) -> Int[Tensor, "n *C"]:
        """Return the bin of each value."""
        if self.uniform:
            # Searching costs three times as much. The product may be one too large near an edge,
            # for the edge itself to settle, and thanks to its surplus is never too small.
            index = (values * (len(self) * (1 + 1e-15))).long().clamp_(max=len(self) - 1)
            return index.sub_((values < self.edges[index]).long())
        inner = self.edges[..., 1:-1].contiguous()
        if inner.ndim == 1:
            return torch.bucketize(values.contiguous(), inner, right=True)
        return torch.searchsorted(inner, values.t().contiguous(), right=True).t()

    def tally(self, rows: Rows, kind: Kind) -> Tally:
        """Return the tally of what a block of rows claims."""
        return self.count_classes(rows) if kind == "class" else self.count(*rows.claims(kind))

    def count(self, confidence: Float[Tensor, "n"], hits: Shaped[Tensor, "n"]) -> Tally:
        """Return the tally of claims, and of how far each came true: yes, no, or a share."""
        values = confidence.double()
        index = self.index(values)
        came_true = _summed(index, hits.double(), (len(self),))
        if not hits.is_floating_point():
            came_true = came_true.long()
        return (
            _summed(index, None, (len(self),)),
            came_true,
            _summed(index, values, (len(self),)),
            _summed(index, values * (1 - values), (len(self),)),
        )

    def count_classes(self, rows: Rows) -> Tally:
        """Return the tally of every class against the rest, each of shape `(C, B)`."""
        values = rows.probs.double()
        shape = (values.shape[1], len(self))
        index = self.index(values) + len(self) * torch.arange(shape[0], device=values.device)
        if rows.are_votes:
            came_true = _summed(index, rows.target, shape)
        else:
            came_true = _summed(index.gather(1, rows.target.unsqueeze(1)), None, shape)
        return (
            _summed(index, None, shape),
            came_true,
            _summed(index, values, shape),
            _summed(index, values * (1 - values), shape),
        )


def _summed(index: Tensor, weights: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    flat, size = index.flatten(), math.prod(shape)
    if weights is None:
        return torch.bincount(flat, minlength=size).view(shape)
    return summed_by(flat, weights.flatten(), size).view(shape)
