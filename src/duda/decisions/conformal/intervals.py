"""Prediction intervals of numbers, and their coverage beside what is guaranteed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from duda.checks import ArrayLike, check_same_shape, check_share
from duda.decisions.conformal.coverage import (
    GroupCoverage,
    GuaranteedCoverage,
    covered_by_group,
)
from duda.decisions.numbers import targets
from duda.fitted import Kept, check_that
from duda.predictions.validity import check_no_nan
from duda.renamed import OldAttribute
from duda.shown import Shown
from duda.storage import Format

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["IntervalSummary", "PredictionIntervals"]

_QUARTERS = ("least", "low", "high", "most")


@dataclass(frozen=True, eq=False, repr=False)
class PredictionIntervals(Shown, Kept):
    """An interval for each number, both ends inside; none is inside where `lower` > `upper`.

    Args:
        lower: `(N)` or `(N, D)`, in units of the target, float64.
        upper: of the same shape.
        alpha: the share of intervals that may miss the target.
        calibration: `(D)`, on how many examples the threshold of each output rests.

    >>> ends = torch.tensor([0.0, 0.0]), torch.tensor([2.0, 4.0])
    >>> found = PredictionIntervals(*ends, alpha=0.1, calibration=torch.tensor([99]))
    >>> found.widths, found.coverage([1.0, 5.0])
    (tensor([2., 4.]), 0.5)
    """

    format = Format("prediction intervals")
    lower: Float[Tensor, "N *D"]
    upper: Float[Tensor, "N *D"]
    alpha: float
    calibration: Int[Tensor, "D"]

    def check_values(self) -> None:
        """Raise a `ValueError` unless ends are numbers, and each output has its calibration."""
        check_share(self.alpha, "alpha")
        check_no_nan(self.lower, "lower")
        check_no_nan(self.upper, "upper")
        outputs = 1 if self.lower.ndim == 1 else self.lower.shape[1]
        check_same_shape(self.calibration, "calibration", (outputs,), "the outputs")
        check_that(self.calibration >= 0, "`calibration` is below 0")

    def __len__(self) -> int:
        return len(self.lower)

    @property
    def widths(self) -> Float[Tensor, "N *D"]:
        """Upper less lower end, 0 where nothing is inside."""
        return (self.upper - self.lower).clamp(min=0)

    def contains(self, y: ArrayLike) -> Bool[Tensor, "N *D"]:
        """Return where the target is inside.

        Raises:
            ValueError: if `y` has another shape, or NaN or infinite values.
        """
        values = targets(y, tuple(self.lower.shape))
        return (self.lower <= values) & (values <= self.upper)

    def coverage(self, y: ArrayLike) -> float:
        """Return the share of targets inside.

        Raises:
            ValueError: if `y` has another shape, or NaN or infinite values.
        """
        return float(self.contains(y).double().mean())

    def summary(self, y: ArrayLike) -> IntervalSummary:
        """Return the coverage beside what is expected, and by width; print it to read it.

        Raises:
            ValueError: if `y` has another shape, or NaN or infinite values.
        """
        inside = self.contains(y).view(len(self), -1)
        counts = torch.full((inside.shape[1],), len(inside))
        widths = self.widths.flatten()
        # Not interpolated, as widths may be infinite; equal ones stay together.
        edges = np.quantile(widths.numpy(), [0.25, 0.5, 0.75], method="lower")
        quarters = torch.from_numpy(np.searchsorted(edges, widths.numpy()))
        return IntervalSummary(
            GuaranteedCoverage(inside.sum(0), counts, self.calibration, self.alpha),
            GroupCoverage(*covered_by_group(inside.flatten(), quarters, len(_QUARTERS))),
            float(widths.mean()),
        )


@dataclass(frozen=True, eq=False)
class IntervalSummary:
    """The coverage of intervals, in numbers of targets.

    Args:
        guaranteed: of each output.
        by_width: of the narrowest quarter of intervals to the widest; where many are of one width
            they are in one quarter.
        mean_width: in units of the target.
    """

    guaranteed: GuaranteedCoverage
    by_width: GroupCoverage
    mean_width: float

    promised = OldAttribute("guaranteed")

    def __str__(self) -> str:
        lines = [
            str(self.guaranteed),
            f"mean width {self.mean_width:.4g}",
            " width   targets  coverage",
        ]
        rows = zip(_QUARTERS, self.by_width.counts, self.by_width.observed, strict=True)
        lines += [
            f"{name:>6}  {int(count):>8,}  {float(share):>8.3f}"
            for name, count, share in rows
            if count
        ]
        return "\n".join(lines)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the coverage of intervals from the narrowest to the widest quarter."""
        from duda.plots.conformal import coverage_by_group

        group = self.by_width
        present = group.counts.nonzero().squeeze(1)
        low, high = (end[present] for end in group.confidence())
        least = 1 - self.guaranteed.alpha
        return coverage_by_group(present, group.observed[present], low, high, least, "width", ax)
