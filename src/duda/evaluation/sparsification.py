"""Sparsification curves (AUSE): the mean error of what is left when the least sure is removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, check_same_shape
from duda.evaluation.given import score_and_error
from duda.evaluation.sums import cumulated
from duda.evaluation.ties import tied_runs
from duda.inputs import numbers, scores
from duda.ordered import ascending
from duda.predictions.given import ScoresGiven
from duda.shown import Shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Sparsification", "sparsification"]


@dataclass(frozen=True, eq=False, repr=False)
class Sparsification(Shown):
    """Mean errors of what is left when the first 0, 1, ..., N - 1 of N examples are removed.

    Source: Ilg et al. 2018.

    Args:
        by_score: `(N)`, the most uncertain removed first, tied ones in a random order: its mean.
        by_error: `(N)`, the largest error removed first: the oracle, which no score can beat.
    """

    headline = ("ause",)

    by_score: Float[Tensor, "N"]
    by_error: Float[Tensor, "N"]

    @property
    def ause(self) -> float:
        """Mean distance between both curves, as a share of the error of all: 0 is best.

        Both curves are divided by their start and subtracted, as in the source, and the mean is
        over the N fractions removed. A score that means nothing has that of the line at 1.
        """
        return float((self.by_score - self.by_error).mean() / self.by_error[0])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw both curves over the share removed, as shares of the error of all."""
        from duda.plots.regression import sparsification_curve

        start = self.by_error[0]
        curves = (self.by_score / start).cpu(), (self.by_error / start).cpu()
        return sparsification_curve(*curves, ax=ax)


def sparsification(
    score: ScoresGiven,
    error: ArrayLike,
    *,
    ignore_index: int | None = None,
    mask: ArrayLike | None = None,
) -> Sparsification:
    """Return how the mean error falls when the most uncertain examples are left out.

    Args:
        score: a prediction; or uncertainty, higher is worse, of any shape.
        error: beside a prediction `y`, from which it knows its errors: |centre - y| of numbers, 0
            and 1 of classes. Else numbers of the shape of `score`, at least 0.
        ignore_index: the label of positions to leave out, beside a prediction and its labels.
        mask: of the shape of the scores: which of them count.

    Raises:
        TypeError: if truth values came beside a prediction.
        ValueError: if shapes differ, there is NaN, an error is negative or infinite, or all are 0.

    >>> sparsification([0.1, 0.9, 0.5], [1.0, 2.0, 6.0]).by_score
    tensor([3.0000, 3.5000, 1.0000], dtype=torch.float64)
    """
    score, error = score_and_error(score, error, ignore_index, mask)
    values = scores(score)
    errors = numbers(error, "error").to(values.device)
    check_same_shape(errors, "error", tuple(values.shape), "`score`")
    if bool((errors < 0).any()):
        raise ValueError(
            f"`error` holds {float(errors.min()):.4g}, expected at least 0: call `error.abs()`."
        )
    if not bool(errors.any()):
        raise ValueError("`error` is 0 everywhere, expected some errors: there is nothing to rank.")
    largest = ascending(errors.flatten()).flip(0)
    return Sparsification(
        _mean_of_rest(_mean_in_ties(values.flatten(), errors.flatten())), _mean_of_rest(largest)
    )


def _mean_in_ties(score: Tensor, error: Tensor) -> Float[Tensor, "N"]:
    """Return the errors from the highest score down, each the mean of those that tie with it."""
    runs = tied_runs(score, descending=True)
    counts = runs.ends.diff(prepend=runs.ends.new_full((1,), -1))
    sums = runs.cumulated(error)
    return (sums.diff(prepend=sums.new_zeros(1)) / counts).repeat_interleave(counts)


def _mean_of_rest(error: Float[Tensor, "N"]) -> Float[Tensor, "N"]:
    left = torch.arange(len(error), 0, -1, device=error.device)
    return cumulated(error.flip(0)).flip(0) / left
