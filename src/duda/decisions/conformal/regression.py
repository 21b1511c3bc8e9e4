"""Conformal prediction of numbers: intervals with guaranteed coverage; CQR."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import ArrayLike, check_share, nearest
from duda.decisions.conformal.guess import NumberScore, guessed
from duda.decisions.conformal.intervals import PredictionIntervals
from duda.decisions.conformal.quantile import check_thresholds, conformal_quantile
from duda.decisions.fitted import Fitted
from duda.decisions.numbers import by_output, targets
from duda.predictions.given import NumbersGiven
from duda.storage import Format

__all__ = ["ConformalRegressor"]


@dataclass(eq=False)
class ConformalRegressor(Fitted):
    """Intervals widened until they held enough of the held-out targets.

    The target of a new example is inside with a probability of at least 1 - alpha, if it is
    exchangeable with the held-out ones, on average over these; of D outputs each by itself. With
    fewer than 1 / alpha - 1 of them intervals are infinite.
    Source: Lei et al. 2018, sections 2.2 and 5.2 (absolute, normalised); Romano et al. 2019 (CQR).

    Args:
        alpha: the share of intervals that may miss the target.
        score: `"absolute"`, |y - centre|, all intervals of one width; `"normalized"`, |y - mean| /
            std; `"cqr"`, how far y lies outside the predicted interval of level 1 - alpha, below 0
            inside: that is narrowed too where it was too wide, even to nothing.

    Attributes:
        thresholds: `(D)`.
        calibration: `(D)`, on how many examples each of them rests.

    >>> conformal = ConformalRegressor(alpha=0.25, score="absolute")
    >>> found = conformal.fit([0.0, 0.0, 0.0], [1.0, -2.0, 3.0])([5.0])
    >>> found.lower, found.upper
    (tensor([2.], dtype=torch.float64), tensor([8.], dtype=torch.float64))
    """

    format = Format("conformal predictor")
    alpha: float = 0.1
    score: NumberScore = "normalized"
    thresholds: Float[Tensor, "D"] = field(init=False, repr=False)
    calibration: Int[Tensor, "D"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.alpha = check_share(self.alpha, "alpha")
        if self.score not in get_args(NumberScore):
            raise ValueError(nearest(str(self.score), get_args(NumberScore), "score"))

    def check_learned(self) -> None:
        """Raise a `ValueError` unless thresholds are those of so many examples."""
        super().check_learned()
        least = torch.finfo(torch.float64).min if self.score == "cqr" else 0.0
        check_thresholds(self.thresholds, self.calibration, self.alpha, lowest=least)

    def fit(
        self,
        mean: NumbersGiven | None = None,
        y: ArrayLike | None = None,
        *,
        std: ArrayLike | None = None,
        lower: ArrayLike | None = None,
        upper: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ) -> Self:
        """Find the thresholds on held-out examples, and return itself.

        Args:
            mean: a prediction, or means `(N)` or `(N, D)`; none beside `lower` and `upper`.
            y: targets of that shape.
            std: beside means, for `"normalized"`.
            lower: ends of intervals, for `"cqr"`.
            upper: the other ends.
            mask: of the shape of `y`: which targets count. Where it is False `y` may be NaN.

        Raises:
            ValueError: if shapes differ, there are no examples, NaN, or a std that is not above 0.
        """
        guess = guessed(self.score, self.alpha, mean, std, lower, upper)
        found = targets(y, guess.shape, mask, guess.lower.device)
        values, kept = (each.reshape(guess.lower.shape) for each in found)
        outside = torch.maximum(guess.lower - values, values - guess.upper) / guess.unit
        columns = by_output(outside, kept)
        thresholds = [conformal_quantile(column, self.alpha) for column in columns]
        self.thresholds = torch.tensor(thresholds, dtype=torch.float64)
        self.calibration = torch.tensor([len(column) for column in columns])
        return self

    def __call__(
        self,
        mean: NumbersGiven | None = None,
        /,
        *,
        std: ArrayLike | None = None,
        lower: ArrayLike | None = None,
        upper: ArrayLike | None = None,
    ) -> PredictionIntervals:
        """Return the intervals of new examples, given in the way that `fit` got them.

        Raises:
            ValueError: before `fit`, or if there are not as many outputs as in `fit`.
        """
        self.check_fitted()
        guess = guessed(self.score, self.alpha, mean, std, lower, upper)
        outputs = guess.lower.shape[1]
        if outputs != len(self.thresholds):
            raise ValueError(
                f"the predictions have {outputs} outputs, expected {len(self.thresholds)}, as "
                "`fit` saw: give both from the same network."
            )
        wider = self.thresholds.to(guess.unit.device) * guess.unit
        return PredictionIntervals(
            (guess.lower - wider).view(guess.shape),
            (guess.upper + wider).view(guess.shape),
            self.alpha,
            self.calibration,
        )
