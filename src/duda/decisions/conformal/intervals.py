"""Prediction intervals of numbers, and their coverage beside what is guaranteed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from duda.checks import ArrayLike, check_same_shape, check_share
from duda.decisions.conformal.coverage import (
    GroupCoverage,
    GuaranteedCoverage,
    calibration_counts,
    covered_by_group,
)
from duda.decisions.numbers import targets
from duda.fitted import Kept
from duda.inputs import scores
from duda.ordered import quantiles
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

    Intervals of any program will do, as any arrays.

    Args:
        lower: `(N)` or `(N, D)`, in units of the target, float64; -inf may pass.
        upper: of the same shape; inf may pass.
        alpha: the share of intervals that may miss the target.
        calibration: `(D)`, on how many examples the threshold of each output rests.

    Raises:
        ValueError: if shapes differ, or there is NaN.

    >>> found = PredictionIntervals([0, 0], [2, 4], alpha=0.1, calibration=99)
    >>> found.widths, found.coverage([1.0, 5.0])
    (tensor([2., 4.], dtype=torch.float64), 0.5)
    """

    format = Format("prediction intervals")
    lower: Float[Tensor, "N *D"]
    upper: Float[Tensor, "N *D"]
    alpha: float
    calibration: Int[Tensor, "D"]

    def __post_init__(self) -> None:
        lower, upper = (scores(getattr(self, end), end).double() for end in ("lower", "upper"))
        upper = upper.to(lower.device)
        check_same_shape(upper, "upper", tuple(lower.shape), "`lower`")
        if lower.ndim not in (1, 2):
            raise ValueError(f"`lower` has shape {tuple(lower.shape)}, expected (N,) or (N, D).")
        outputs = 1 if lower.ndim == 1 else lower.shape[1]
        calibration = calibration_counts(self.calibration, outputs, "output").expand(outputs)
        object.__setattr__(self, "lower", lower)
        object.__setattr__(self, "upper", upper)
        object.__setattr__(self, "alpha", check_share(self.alpha, "alpha"))
        object.__setattr__(self, "calibration", calibration.clone())

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
        return self._inside(self._targets(y)[0])

    def coverage(self, y: ArrayLike, *, mask: ArrayLike | None = None) -> float:
        """Return the share of targets inside, of those that `mask` says count.

        Raises:
            ValueError: if `y` has another shape, or NaN or infinite values.
        """
        values, kept = self._targets(y, mask)
        return float(self._inside(values)[kept].double().mean())

    def summary(self, y: ArrayLike, *, mask: ArrayLike | None = None) -> IntervalSummary:
        """Return the coverage beside what is expected, and by width; print it to read it.

        Args:
            y: targets, of the shape of the ends.
            mask: of that shape: which targets count. Where it is False `y` may be NaN.

        Raises:
            ValueError: if `y` has another shape, or NaN or infinite values.
        """
        values, kept = self._targets(y, mask)
        inside = self._inside(values)
        outputs = len(self), len(self.calibration)
        hits, counts = ((each & kept).view(outputs).sum(0).cpu() for each in (inside, kept))
        widths = self.widths[kept]
        # Not interpolated, as widths may be infinite; equal ones stay together.
        edges = quantiles(widths, torch.tensor([0.25, 0.5, 0.75]), lower=True)
        quarters = torch.searchsorted(edges, widths)
        return IntervalSummary(
            GuaranteedCoverage(hits, counts, self.calibration, self.alpha),
            GroupCoverage(*covered_by_group(inside[kept], quarters, len(_QUARTERS))),
            float(widths.mean()),
        )

    def _targets(self, y: ArrayLike, mask: ArrayLike | None = None) -> tuple[Tensor, Tensor]:
        return targets(y, tuple(self.lower.shape), mask, self.lower.device)

    def _inside(self, values: Float[Tensor, "N *D"]) -> Bool[Tensor, "N *D"]:
        return (self.lower <= values) & (values <= self.upper)


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
