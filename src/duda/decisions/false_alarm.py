"""False-alarm guarantees: what is refused as out-of-distribution seldom is in distribution."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from duda.checks import check_flag, check_share, counted
from duda.decisions.guarantee import Guarantee, percent
from duda.decisions.outcomes import Decision, Decisions
from duda.decisions.p_values import benjamini_hochberg, conformal_p_values
from duda.fitted import check_that

__all__ = ["FalseAlarm"]


@dataclass(eq=False)
class FalseAlarm(Guarantee):
    """Refuse by conformal p-values of being in distribution.

    Each example by itself: of those in distribution, at most `level` are refused. In a batch, by
    the procedure of Benjamini and Hochberg over all examples of a call: of those refused, at most
    `level` are in distribution. Both on average over held-out sets, which hold no outliers.
    Source: Bates et al. 2023.

    Args:
        level: the share of false alarms.
        batch: whether it is their share among the refused ones: the false discovery rate.

    Attributes:
        calibration: `(n)`, the held-out scores, ascending.
    """

    level: float
    batch: bool = False
    calibration: Float[Tensor, "n"] = field(init=False, repr=False)

    name: ClassVar[str] = "false-alarm"
    needs_bad: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self.level = check_share(self.level, "level")
        check_flag(self.batch, "batch")

    def check_learned(self) -> None:
        """Raise a `ValueError` if the scores are none, NaN, or out of order."""
        super().check_learned()
        check_that(
            self.calibration.diff() >= 0, "`calibration` descends, expected ascending scores"
        )
        check_that(self.calibration > -torch.inf, "`calibration` holds -inf, which no score is")

    @property
    def examples(self) -> int:  # type: ignore[override] # follows from the calibration
        """How many scores there are to compare with."""
        return len(self.calibration)

    def fit(self, score: Float[Tensor, "N"], bad: Bool[Tensor, "N"]) -> Self:
        """Keep the scores to compare with, and return itself; which were bad does not matter."""
        self.calibration = score.sort().values.cpu()
        return self

    def decide(self, score: Float[Tensor, "N"]) -> Decisions:
        """Refuse what has too low a p-value."""
        p_values = conformal_p_values(score, self.calibration)
        alarm = benjamini_hochberg(p_values, self.level) if self.batch else p_values <= self.level
        return Decisions(torch.where(alarm, Decision.REFUSE, Decision.ACCEPT), p_values)

    def summary(self) -> str:
        """Return in plain sentences what is guaranteed, and what it rests on."""
        least = 1 / (self.examples + 1)
        examples = counted(self.examples, "held-out example")
        text = f"Rests on {examples}, with p-values from {least:.4g}"
        if self.batch:
            return text + (
                f" up. Guarantee: of the examples refused in a call at most {percent(self.level)} "
                "are like these, on average (Benjamini-Hochberg over all examples of the call)."
            )
        if least > self.level:
            return text + f" up: too few to refuse anything at a level of {percent(self.level)}."
        return text + (
            f" up. Guarantee: of new examples like these at most {percent(self.level)} are "
            "refused, on average over sets of held-out examples."
        )
