"""AUROC, average precision and FPR from cumulated counts, for one ranking or for many at once.

All take, for K thresholds from the highest score down, how many bad and good examples have a score
of at least each: `caught` and `false_alarms`, `(*many, K)`, int64.
"""

from __future__ import annotations

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

__all__ = ["auroc", "average_precision", "first_at", "fpr_at", "opposite", "steps"]

Counts = Int64[Tensor, "*many K"]


def steps(cumulated: Counts) -> Counts:
    """Return what each threshold adds to the one before.

    >>> steps(torch.tensor([1, 3, 3]))
    tensor([1, 2, 0])
    """
    return cumulated - _before(cumulated)


def auroc(caught: Counts, false_alarms: Counts) -> Float64[Tensor, "*many"]:
    """Return the probability that a bad example outscores a good one, a tie counting half."""
    pairs = caught[..., -1] * false_alarms[..., -1]
    # Twice the pairs, so that half a pair is a whole number: a tied good example is beaten by half.
    lost = (caught.diff() * (false_alarms[..., 1:] + false_alarms[..., :-1])).sum(-1)
    lost += caught[..., 0] * false_alarms[..., 0]
    return (2 * pairs - lost).double() / (2 * pairs)


def average_precision(caught: Counts, false_alarms: Counts) -> Float64[Tensor, "*many"]:
    """Return Σ (Rₖ − Rₖ₋₁) Pₖ over thresholds, P precision and R recall."""
    bad, good = caught.double(), false_alarms.double()
    flagged = (bad + good).clamp_(min=1)  # a resample may have none at the first ones
    return (steps(bad) * (bad / flagged)).sum(-1) / bad[..., -1]


def first_at(caught: Counts, tpr: float) -> Int64[Tensor, "*many"]:
    """Return the index of the highest threshold that catches at least `tpr` of the bad examples."""
    return (caught.double() / caught[..., -1:] < tpr).sum(-1)


def fpr_at(caught: Counts, false_alarms: Counts, tpr: float) -> Float64[Tensor, "*many"]:
    """Return the share of good examples that such a threshold flags."""
    first = first_at(caught, tpr).unsqueeze(-1)
    return false_alarms.gather(-1, first).squeeze(-1).double() / false_alarms[..., -1]


def opposite(caught: Counts, false_alarms: Counts) -> tuple[Counts, Counts]:
    """Return the counts where good examples are to be caught, from the lowest score up."""
    return _from_below(false_alarms), _from_below(caught)


def _from_below(cumulated: Counts) -> Counts:
    return (cumulated[..., -1:] - _before(cumulated)).flip(-1)


def _before(cumulated: Counts) -> Counts:
    return torch.cat([torch.zeros_like(cumulated[..., :1]), cumulated[..., :-1]], -1)
