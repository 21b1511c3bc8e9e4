"""Does uncertainty find what is bad: errors, or inputs from another distribution."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from duda.checks import ArrayLike
from duda.evaluation.inputs import flags, scores

__all__ = ["Ranking", "rank"]


@dataclass(frozen=True, eq=False)
class Ranking:
    """What each threshold on the score catches; bad examples are the positive class.

    Thresholds are the K distinct scores, so that tied examples are never told apart and their order
    means nothing.

    Args:
        thresholds: `(K)`, descending.
        caught: `(K)`, bad examples with a score of at least the threshold, int64.
        false_alarms: `(K)`, good examples with such a score, int64.
    """

    thresholds: Shaped[Tensor, "K"]
    caught: Int[Tensor, "K"]
    false_alarms: Int[Tensor, "K"]

    @property
    def auroc(self) -> float:
        """Probability that a bad example outscores a good one, a tie counting half.

        Source: Hanley & McNeil 1982. Exact: pairs are counted in integers.
        """
        bad, good = int(self.caught[-1]), int(self.false_alarms[-1])
        tied_bad, tied_good = _steps(self.caught), _steps(self.false_alarms)
        # Twice the pairs, so that half a pair is a whole number.
        won = tied_bad * (2 * (good - self.false_alarms) + tied_good)
        return int(won.sum()) / (2 * bad * good)

    @property
    def average_precision(self) -> float:
        """Σ (Rₖ − Rₖ₋₁) Pₖ over thresholds, P precision and R recall; no interpolation.

        Its value for a score that means nothing is the share of bad examples.
        """
        precision = self.caught.double() / (self.caught + self.false_alarms)
        return float((_steps(self.caught) * precision).sum() / self.caught[-1])

    def fpr_at(self, tpr: float) -> float:
        """Return the share of good examples flagged when at least `tpr` of the bad ones are.

        Papers that call the good examples positive (Liang et al. 2018, "FPR at 95 % TPR") measure
        something else: `rank(-score, is_good).fpr_at(0.95)`.

        Raises:
            ValueError: unless 0 < `tpr` <= 1.
        """
        if not 0 < tpr <= 1:
            raise ValueError(f"`tpr` is {tpr}, expected a share above 0 and at most 1.")
        enough = self.caught.double() / self.caught[-1] >= tpr
        first = int(enough.nonzero()[0])
        return int(self.false_alarms[first]) / int(self.false_alarms[-1])


def rank(score: ArrayLike, is_bad: ArrayLike) -> Ranking:
    """Return how well a score, higher for worse, tells bad examples from good ones.

    Args:
        score: any numbers, infinite ones too, such as entropies or energies.
        is_bad: of the same shape: booleans, or 0 and 1.

    Raises:
        ValueError: if shapes differ, a score is NaN, or all examples are of one kind.

    >>> rank([0.1, 0.4, 0.4, 0.8], [0, 0, 1, 1]).auroc
    0.875
    """
    values = scores(score)
    bad = flags(is_bad, "is_bad", values, "`score`").flatten()
    if bool(bad.all()) or not bool(bad.any()):
        kind = "bad" if bool(bad[0]) else "good"
        raise ValueError(
            f"`is_bad` calls all {len(bad)} examples {kind}, expected some of each: there is "
            "nothing to tell apart."
        )
    distinct, group = torch.unique(values.flatten(), return_inverse=True)
    everyone = torch.bincount(group).flip(0).cumsum(0)
    caught = torch.bincount(group[bad], minlength=len(distinct)).flip(0).cumsum(0)
    return Ranking(distinct.flip(0), caught, everyone - caught)


def _steps(cumulated: Tensor) -> Tensor:
    """Return what each threshold adds to the one before."""
    return cumulated.diff(prepend=cumulated.new_zeros(1))
