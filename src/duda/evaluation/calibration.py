"""Does confidence mean what it says: how often examples of like confidence are right."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import ArrayLike
from duda.evaluation.inputs import class_probs, flags, hard_labels, scores

__all__ = ["Reliability", "reliability", "reliability_of"]

_ROUNDING = 1e-3  # as far above one as `duda.checks.check_probs` lets float16 round


@dataclass(frozen=True, eq=False)
class Reliability:
    """Counts and sums over B bins of confidence, enough for every figure of calibration.

    Bin b holds confidences in [edges[b], edges[b + 1]), the last bin also its upper edge. Two over
    the same edges add up to that of all their examples.
    Source: Guo et al. 2017, section 2; Naeini et al. 2015 (ECE and MCE).

    Args:
        edges: `(B + 1)`, ascending, float64.
        counts: `(B)`, examples, int64.
        hits: `(B)`, right ones among them, int64.
        confidence_sums: `(B)`, float64.
    """

    edges: Float[Tensor, "B+1"]
    counts: Int[Tensor, "B"]
    hits: Int[Tensor, "B"]
    confidence_sums: Float[Tensor, "B"]

    def __add__(self, other: Reliability) -> Reliability:
        if not torch.equal(self.edges, other.edges):
            raise ValueError(
                f"the bins differ ({len(self.counts)} and {len(other.counts)} of them): count both "
                "parts over the same edges."
            )
        return Reliability(
            self.edges,
            self.counts + other.counts,
            self.hits + other.hits,
            self.confidence_sums + other.confidence_sums,
        )

    @property
    def confidence(self) -> Float[Tensor, "B"]:
        """Mean confidence in each bin; NaN where the bin is empty."""
        return self.confidence_sums / self.counts

    @property
    def accuracy(self) -> Float[Tensor, "B"]:
        """Share of right examples in each bin; NaN where the bin is empty."""
        return self.hits / self.counts.double()

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean over examples of their bin's error."""
        return self.ce("weighted")

    @property
    def mce(self) -> float:
        """Maximum calibration error: the largest error of a bin that is not empty."""
        return float(self._errors().max())

    def ce(self, reduction: Literal["sum", "mean", "weighted"]) -> float:
        """Return the bins' |accuracy - confidence| as one number; empty bins have no part in it.

        Args:
            reduction: the `"sum"` over bins, their `"mean"`, or `"weighted"` by their examples.
        """
        if reduction == "sum":
            return float(self._errors().sum())
        if reduction == "mean":
            return float(self._errors().mean())
        if reduction == "weighted":
            surplus = (self.hits - self.confidence_sums).abs().sum()
            return float(surplus / self.counts.sum())
        raise ValueError(f"`reduction` is {reduction!r}, expected 'sum', 'mean' or 'weighted'.")

    def _errors(self) -> Float[Tensor, "filled"]:
        return (self.accuracy - self.confidence).abs()[self.counts > 0]


def reliability(
    probs: ArrayLike | None = None,
    y: ArrayLike | None = None,
    *,
    bins: int = 15,
    logits: ArrayLike | None = None,
) -> Reliability:
    """Return how often the most probable class is right, in bins of equal width of its probability.

    Args:
        probs: `(N, C, *positions)`; every position counts as an example.
        y: integer labels `(N, *positions)`.
        bins: how many.
        logits: in place of `probs`.

    Raises:
        ValueError: if shapes differ, a label is not in 0 to C - 1, or there is NaN.

    >>> round(reliability([[0.75, 0.25], [0.25, 0.75]], [0, 0]).ece, 4)
    0.25
    """
    values = class_probs(probs, logits)
    labels = hard_labels(y, tuple(values.shape))
    confidence, first = values.max(1)
    return _count(confidence, first == labels, bins)


def reliability_of(confidence: ArrayLike, correct: ArrayLike, *, bins: int = 15) -> Reliability:
    """Return how often a claim is right, in bins of equal width of the confidence in it.

    Args:
        confidence: probabilities of being right, of any shape.
        correct: whether they were, of the same shape: booleans, or 0 and 1.
        bins: how many.

    Raises:
        ValueError: if shapes differ, or a confidence is NaN or not in [0, 1].

    >>> reliability_of([0.2, 0.9, 1.0], [False, True, True], bins=2).counts
    tensor([1, 2])
    """
    values = scores(confidence, "confidence")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1 + _ROUNDING:
        raise ValueError(
            f"`confidence` lies in [{low:.4g}, {high:.4g}], expected probabilities in [0, 1]."
        )
    return _count(values, flags(correct, "correct", values, "`confidence`"), bins)


def _count(confidence: Tensor, correct: Tensor, bins: int) -> Reliability:
    if not isinstance(bins, Integral) or bins < 1:
        raise ValueError(f"`bins` is {bins!r}, expected a whole number from 1 up.")
    # k / B is the float64 nearest to it, so a confidence of 0.6 lies on the edge 3 / 5.
    edges = torch.arange(bins + 1, dtype=torch.float64) / bins
    values = confidence.flatten().double()
    index = torch.bucketize(values, edges[1:-1], right=True)
    return Reliability(
        edges,
        counts=torch.bincount(index, minlength=bins),
        hits=torch.bincount(index[correct.flatten()], minlength=bins),
        confidence_sums=torch.bincount(index, weights=values, minlength=bins),
    )
