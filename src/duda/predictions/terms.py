"""Aleatoric and epistemic parts, terms of metrics, and bands: answers that all families share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor

from duda.shown import Shown

__all__ = ["Bands", "Parts", "Terms"]


@dataclass(frozen=True, eq=False, repr=False)
class Parts(Shown):
    """Both parts of the uncertainty of each example, in one unit.

    Args:
        aleatoric: noise, which more data would not mend, of the score's shape.
        epistemic: ignorance, which it would, of the same shape.
        unit: of both, such as "nats".
    """

    aleatoric: Float[Tensor, "N *rest"]
    epistemic: Float[Tensor, "N *rest"]
    unit: str


@dataclass(frozen=True, eq=False, repr=False)
class Terms(Shown):
    """What each example adds to a metric, so that any draw of examples sums it up.

    Args:
        values: `(N, *rest)`, float64: losses, or confidences for `"calibration"`, or scores for
            `"ranking"`.
        how: the metric is their `"mean"`, its root for `"root-mean"`, the expected calibration
            error of confidences, or the AUROC with which scores rank what is `true`.
        true: of the shape of `values`: whether a confidence came true, or a score should be high.
        less: what is taken from the mean, such as the promised share of a coverage.
    """

    values: Float[Tensor, "N *rest"]
    how: Literal["mean", "root-mean", "calibration", "ranking"] = "mean"
    true: Bool[Tensor, "N *rest"] | None = None
    less: float = 0.0


@dataclass(frozen=True, eq=False, repr=False)
class Bands(Shown):
    """Intervals to draw about a curve.

    Args:
        centre: what the line in the middle is, such as "mean".
        meaning: what the bands are, to follow "the bands".
        ends: lower and upper ends, the widest first.
    """

    centre: str
    meaning: str
    ends: list[tuple[Tensor, Tensor]]
