"""AUROC, average precision and FPR from cumulated counts, for one ranking or for many at once.

All take, for K thresholds from the highest score down, how many bad and good examples have a score
of at least each: `caught` and `false_alarms`, `(*many, K)`, int64. They are arrays: torch would
spread such small sums over threads, which costs more than it gains.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64

__all__ = ["auroc", "average_precision", "first_at", "fpr_at", "opposite", "steps"]

Counts = Int64[np.ndarray, "*many K"]


def steps(cumulated: Counts) -> Counts:
    """Return what each threshold adds to the one before.

    >>> steps(np.array([1, 3, 3]))
    array([1, 2, 0])
    """
    return np.diff(cumulated, prepend=0)


def auroc(caught: Counts, false_alarms: Counts) -> Float64[np.ndarray, "*many"]:
    """Return the probability that a bad example outscores a good one, a tie counting half."""
    bad, good = caught[..., -1], false_alarms[..., -1]
    # Twice the pairs, so that half a pair is a whole number: a tied good example is beaten by half.
    beaten = 2 * (good[..., None] - false_alarms) + steps(false_alarms)
    won: np.ndarray = (steps(caught) * beaten).sum(-1) / (2 * bad * good)
    return won


def average_precision(caught: Counts, false_alarms: Counts) -> Float64[np.ndarray, "*many"]:
    """Return Σ (Rₖ − Rₖ₋₁) Pₖ over thresholds, P precision and R recall."""
    flagged = np.maximum(caught + false_alarms, 1)  # a resample may have none at the first ones
    mean: np.ndarray = (steps(caught) * (caught / flagged)).sum(-1) / caught[..., -1]
    return mean


def first_at(caught: Counts, tpr: float) -> Int64[np.ndarray, "*many"]:
    """Return the index of the highest threshold that catches at least `tpr` of the bad examples."""
    index: np.ndarray = (caught / caught[..., -1:] < tpr).sum(-1)
    return index


def fpr_at(caught: Counts, false_alarms: Counts, tpr: float) -> Float64[np.ndarray, "*many"]:
    """Return the share of good examples that such a threshold flags."""
    first = np.expand_dims(first_at(caught, tpr), -1)
    share: np.ndarray = np.take_along_axis(false_alarms / false_alarms[..., -1:], first, -1)
    return share[..., 0]


def opposite(caught: Counts, false_alarms: Counts) -> tuple[Counts, Counts]:
    """Return the counts where good examples are to be caught, from the lowest score up."""

    def from_below(cumulated: Counts) -> Counts:
        from_here: np.ndarray = cumulated[..., -1:] - cumulated + steps(cumulated)
        return from_here[..., ::-1]

    return from_below(false_alarms), from_below(caught)
