"""Patches of pixels: right where sure, unsure where wrong (PAvPU)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from duda.checks import ArrayLike, check_count, check_share
from duda.evaluation.given import score_and_flags
from duda.inputs import flags, numbers, scores, which_count
from duda.predictions import Prediction
from duda.predictions.given import ScoresGiven, prediction_given, targets_counted
from duda.shown import Shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PatchUncertainty", "pavpu"]


@dataclass(frozen=True, eq=False, repr=False)
class PatchUncertainty(Shown):
    """How many patches are right, and how many are unsure, at each threshold.

    Two of the same thresholds add up to that of all their patches.

    Args:
        thresholds: `(T)`, above which a mean score is unsure, ascending.
        right_sure: `(T)`, int64.
        right_unsure: `(T)`.
        wrong_sure: `(T)`.
        wrong_unsure: `(T)`.
    """

    headline = ("best",)

    thresholds: Float[Tensor, "T"]
    right_sure: Int[Tensor, "T"]
    right_unsure: Int[Tensor, "T"]
    wrong_sure: Int[Tensor, "T"]
    wrong_unsure: Int[Tensor, "T"]

    def __add__(self, other: PatchUncertainty) -> PatchUncertainty:
        if not torch.equal(self.thresholds, other.thresholds):
            raise ValueError("the thresholds differ, expected the same: give both `thresholds`.")
        mine, theirs = self._counts, other._counts
        return PatchUncertainty(
            self.thresholds, *(a + b for a, b in zip(mine, theirs, strict=True))
        )

    @property
    def _counts(self) -> tuple[Int[Tensor, "T"], ...]:
        return self.right_sure, self.right_unsure, self.wrong_sure, self.wrong_unsure

    @property
    def right_if_sure(self) -> Float[Tensor, "T"]:
        """Share of sure patches that are right; NaN where none is sure."""
        return self.right_sure.double() / (self.right_sure + self.wrong_sure)

    @property
    def unsure_if_wrong(self) -> Float[Tensor, "T"]:
        """Share of wrong patches that are unsure; NaN where none is wrong."""
        return self.wrong_unsure.double() / (self.wrong_sure + self.wrong_unsure)

    @property
    def pavpu(self) -> Float[Tensor, "T"]:
        """Share of patches that are right and sure, or wrong and unsure."""
        total = sum(self._counts, torch.zeros_like(self.right_sure))
        return (self.right_sure + self.wrong_unsure).double() / total

    @property
    def best(self) -> float:
        """The highest share, over thresholds."""
        return float(self.pavpu.max())

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the three shares over thresholds."""
        from duda.plots.selection import patches

        shares = self.right_if_sure, self.unsure_if_wrong, self.pavpu
        return patches(self.thresholds, *shares, ax=ax)


def pavpu(
    score: ScoresGiven,
    is_bad: ArrayLike,
    thresholds: ArrayLike | None = None,
    *,
    patch: int = 4,
    accuracy: float = 0.5,
    ignore_index: int | None = None,
    mask: ArrayLike | None = None,
) -> PatchUncertainty:
    """Return how far patches of pixels are right where they are sure, and unsure where wrong.

    A patch is right if more than `accuracy` of its pixels are, and unsure if their mean score is
    above a threshold. At the lower and right border patches are smaller.
    Source: Mukhoti & Gal 2018, Evaluating Bayesian deep learning methods for segmentation.

    Args:
        score: a prediction of pixels; or scores `(N, H, W)`.
        is_bad: of that shape: booleans, such as `prediction.is_bad(y)`; labels beside a prediction
            and `ignore_index`.
        thresholds: by default 21, evenly from the lowest mean score of a patch to the highest.
        patch: its pixels along each side.
        accuracy: the share of right pixels above which a patch is right.
        ignore_index: the label of pixels to leave out.
        mask: of the shape of the scores: which pixels count.

    Raises:
        ValueError: if shapes differ or are not of pixels, a score is NaN, or nothing counts.

    >>> sure, wrong = [[[0.0, 0.1, 0.9, 0.9]]], [[[0, 0, 1, 1]]]
    >>> pavpu(sure, wrong, [0.5], patch=2).pavpu
    tensor([1.], dtype=torch.float64)
    """
    values, bad, kept = _maps(score, is_bad, ignore_index, mask)
    side, least = check_count(patch, "patch"), check_share(accuracy, "accuracy")
    count, wrong, total = (
        _pooled(each, side) for each in (kept, bad & kept, values.where(kept, 0.0))
    )
    here = count > 0
    right = (1 - wrong / count)[here] > least
    mean = (total / count)[here]
    levels = _levels(mean) if thresholds is None else numbers(thresholds, "thresholds").flatten()
    levels = levels.to(mean.device).sort().values
    place = torch.searchsorted(levels, mean.contiguous())  # a mean is above the levels before it
    counts = [_above(place[which], len(levels)) for which in (right, ~right)]
    found = [part.cpu() for each in counts for part in each]
    return PatchUncertainty(levels.cpu(), *found)


def _maps(
    score: ScoresGiven, is_bad: ArrayLike, ignore_index: int | None, mask: ArrayLike | None
) -> tuple[Float[Tensor, "N H W"], Bool[Tensor, "N H W"], Bool[Tensor, "N H W"]]:
    """Return scores, which pixels are wrong, and which count."""
    prediction = prediction_given(score, Prediction, "score")
    kept: Tensor | None = None
    if prediction is not None and ignore_index is not None:
        y, which = targets_counted(prediction, is_bad, ignore_index, mask)
        score, is_bad, mask = prediction.score, prediction.is_bad(y), None
        kept = None if which is None else prediction.scores_of(which)
    score, is_bad = score_and_flags(score, is_bad, ignore_index if prediction is None else None)
    values = scores(score).double()
    if values.ndim < 3:
        raise ValueError(
            f"`score` has shape {tuple(values.shape)}, expected (N, H, W): of each pixel of some "
            "pictures."
        )
    bad = flags(is_bad, "is_bad", values, "`score`")
    counted = which_count(mask, values, "`score`") if kept is None else kept.to(values.device)
    return values.flatten(0, -3), bad.flatten(0, -3), counted.flatten(0, -3)


def _pooled(values: Tensor, side: int) -> Float[Tensor, "N h w"]:
    """Return sums over patches, of what lies inside of the picture."""
    height, width = values.shape[1:]
    more = -height % side, -width % side
    whole = torch.nn.functional.pad(values.double(), (0, more[1], 0, more[0]))
    rows, columns = whole.shape[1] // side, whole.shape[2] // side
    return whole.view(len(values), rows, side, columns, side).sum((2, 4))


def _levels(mean: Float[Tensor, "P"]) -> Float[Tensor, "T"]:
    low, high = float(mean.min()), float(mean.max())
    if not torch.isfinite(mean).all():
        raise ValueError(
            f"`score` has patches with means from {low} to {high}, expected finite ones to spread "
            "thresholds over: give `thresholds`."
        )
    return torch.linspace(low, high, 21, dtype=torch.float64)


def _above(place: Int[Tensor, "P"], levels: int) -> tuple[Int[Tensor, "T"], Int[Tensor, "T"]]:
    """Return how many patches are not above each of the levels, and how many are."""
    at_most = torch.bincount(place, minlength=levels + 1).cumsum(0)
    return at_most[:levels], at_most[-1] - at_most[:levels]
