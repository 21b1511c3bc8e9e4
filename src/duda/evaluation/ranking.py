"""ROC and precision-recall curves (AUROC, AUPR, AUTC): does uncertainty find what is bad."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from duda.checks import ArrayLike
from duda.evaluation import curves
from duda.evaluation.given import score_and_flags
from duda.evaluation.ties import tied_runs
from duda.inputs import flags, scores
from duda.predictions.given import ScoresGiven
from duda.shown import Shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Ranking", "rank"]


@dataclass(frozen=True, eq=False, repr=False)
class Ranking(Shown):
    """What each threshold on the score catches; bad examples are the positive class.

    Thresholds are the K distinct scores, so that tied examples are never told apart and their order
    means nothing.

    Args:
        thresholds: `(K)`, descending.
        caught: `(K)`, bad examples with a score of at least the threshold, int64.
        false_alarms: `(K)`, good examples with such a score, int64.
    """

    headline = ("auroc",)

    thresholds: Shaped[Tensor, "K"]
    caught: Int[Tensor, "K"]
    false_alarms: Int[Tensor, "K"]

    @property
    def tpr(self) -> Float[Tensor, "K"]:
        """Share of the bad examples that each threshold catches, also called recall."""
        return self.caught.double() / self.caught[-1]

    @property
    def fpr(self) -> Float[Tensor, "K"]:
        """Share of the good examples that each threshold flags."""
        return self.false_alarms.double() / self.false_alarms[-1]

    @property
    def precision(self) -> Float[Tensor, "K"]:
        """Share of bad examples among those that each threshold flags."""
        return self.caught.double() / (self.caught + self.false_alarms)

    @property
    def auroc(self) -> float:
        """Probability that a bad example outscores a good one, a tie counting half.

        Source: Hanley & McNeil 1982. Exact: pairs are counted in integers.
        """
        return float(curves.auroc(self.caught, self.false_alarms))

    @property
    def average_precision(self) -> float:
        """Σ (Rₖ − Rₖ₋₁) Pₖ over thresholds, P precision and R recall; no interpolation.

        Its value for a score that means nothing is the share of bad examples.
        """
        return float(curves.average_precision(self.caught, self.false_alarms))

    @property
    def aupr_trapezoid(self) -> float:
        """Area under precision over recall by the trapezoid rule, from precision 1 at recall 0.

        What many papers call AUPR; the lines between the points promise too much (Davis & Goadrich
        2006), so that `average_precision` is the number to prefer.
        """
        precision, tpr = self.precision, self.tpr
        zero = torch.zeros_like(tpr[:1])
        whole = torch.cat([zero + 1, precision]), torch.cat([zero, tpr])
        return float(torch.trapezoid(*whole))

    @property
    def autc(self) -> float:
        """Area under the threshold curve, from 0, best, to 1; it rewards a wide gap between scores.

        Mean over thresholds, spread evenly over the range of all scores, of the mean of the share
        of good examples flagged and of bad ones missed; 0.5 where all scores are tied.
        Source: Humblot-Renaux et al. 2023 (CVPR), AUTC.

        Raises:
            ValueError: if a score is infinite.
        """
        high, low = float(self.thresholds[0]), float(self.thresholds[-1])
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(
                f"`score` reaches from {low} to {high}, expected a finite range to spread "
                "thresholds over: use `auroc`, which asks for ranks only."
            )
        if high == low:
            return 0.5
        # The area under P(score >= t) over t is the mean score.
        place = (self.thresholds.double() - low) / (high - low)
        bad, good = (
            (curves.steps(each) * place).sum() / each[-1]
            for each in (self.caught, self.false_alarms)
        )
        return float(1 - bad + good) / 2

    @property
    def opposite(self) -> Ranking:
        """The ranking `rank(-score, is_good)`: good examples positive, the lowest scores first."""
        counts = curves.opposite(self.caught, self.false_alarms)
        return Ranking(-self.thresholds.flip(0), *counts)

    def fpr_at(self, tpr: float) -> float:
        """Return the share of good examples flagged when at least `tpr` of the bad ones are.

        Papers that call the good examples positive (Liang et al. 2018, "FPR at 95 % TPR") measure
        something else: `opposite.fpr_at(0.95)`.

        Raises:
            ValueError: unless 0 < `tpr` <= 1.
        """
        _check_rate(tpr)
        return float(curves.fpr_at(self.caught, self.false_alarms, tpr))

    def threshold_at(self, tpr: float) -> float:
        """Return the highest threshold; scores of at least it hold `tpr` of the bad examples.

        Raises:
            ValueError: unless 0 < `tpr` <= 1.
        """
        _check_rate(tpr)
        return float(self.thresholds[curves.first_at(self.caught, tpr)])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the share of bad examples caught over the share of good ones flagged (ROC)."""
        from duda.plots.detection import roc

        return roc(self.fpr.cpu(), self.tpr.cpu(), self.auroc, ax)


def rank(
    score: ScoresGiven,
    is_bad: ArrayLike,
    *,
    ignore_index: int | None = None,
    mask: ArrayLike | None = None,
) -> Ranking:
    """Return how well a score, higher for worse, tells bad examples from good ones.

    Args:
        score: a prediction; or any numbers, infinite ones too, such as entropies or energies.
        is_bad: of the same shape: booleans, such as `prediction.is_bad(y)`, or beside plain scores
            also 0 and 1.
        ignore_index: the label of positions to leave out, beside a prediction and its labels `y`.
        mask: of the shape of the scores: which of them count.

    Raises:
        TypeError: if numbers came beside a prediction, which may be its targets.
        ValueError: if shapes differ, a score is NaN, or all examples are of one kind.

    >>> rank([0.1, 0.4, 0.4, 0.8], [0, 0, 1, 1]).auroc
    0.875
    """
    score, is_bad = score_and_flags(score, is_bad, ignore_index, mask)
    values = scores(score)
    bad = flags(is_bad, "is_bad", values, "`score`").flatten()
    if bool(bad.all()) or not bool(bad.any()):
        kind = "bad" if bool(bad[0]) else "good"
        raise ValueError(
            f"`is_bad` calls all {len(bad)} examples {kind}, expected some of each: there is "
            "nothing to tell apart."
        )
    if not values.is_floating_point():
        values = values.long()  # the opposite of a uint8 or a bool is none
    runs = tied_runs(values.flatten(), descending=True)
    caught = runs.cumulated(bad)
    return Ranking(runs.distinct, caught, runs.ends + 1 - caught)


def _check_rate(tpr: float) -> None:
    if not 0 < tpr <= 1:
        raise ValueError(f"`tpr` is {tpr}, expected a share above 0 and at most 1.")
