"""Error-based calibration (ENCE) and sharpness: does a standard deviation tell errors' size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import ArrayLike, check_count
from duda.evaluation.bins import Binning, is_uniform
from duda.evaluation.given import std_and_error, std_of
from duda.evaluation.sums import summed_by
from duda.inputs import numbers, spreads
from duda.ordered import ascending
from duda.predictions.given import NumbersGiven
from duda.shown import Shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Spread", "sharpness", "spread"]


@dataclass(frozen=True, eq=False, repr=False)
class Spread(Shown):
    """Promised and observed size of errors, in B bins of their standard deviation.

    Bin b holds those in [edges[b], edges[b + 1]), the last bin also its upper edge.
    Source: Levi et al. 2022.

    Args:
        edges: `(B + 1)`, ascending, float64.
        counts: `(B)`, errors, int64.
        variance_sums: `(B)`, of the squared standard deviations, float64.
        squared_error_sums: `(B)`, float64.
    """

    headline = ("ence",)

    edges: Float[Tensor, "B+1"]
    counts: Int[Tensor, "B"]
    variance_sums: Float[Tensor, "B"]
    squared_error_sums: Float[Tensor, "B"]

    @property
    def promised(self) -> Float[Tensor, "B"]:
        """Root mean variance (RMV) in each bin; NaN where the bin is empty."""
        return (self.variance_sums / self.counts).sqrt()

    @property
    def observed(self) -> Float[Tensor, "B"]:
        """Root mean squared error (RMSE) in each bin; NaN where the bin is empty."""
        return (self.squared_error_sums / self.counts).sqrt()

    @property
    def ence(self) -> float:
        """Expected normalized calibration error: the mean of |RMV - RMSE| / RMV over filled bins.

        A bin that promises no error has 0, or +inf if it has one.
        """
        filled = self.counts > 0
        promised, observed = self.promised[filled], self.observed[filled]
        gap = (promised - observed).abs()
        return float(torch.where(gap > 0, gap / promised, 0.0).mean())

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the observed over the promised size of errors, bin by bin."""
        from duda.plots.regression import spread_curve

        filled = self.counts > 0
        return spread_curve(self.promised[filled], self.observed[filled], ax)


def spread(
    std: NumbersGiven,
    error: ArrayLike,
    *,
    bins: int = 15,
    binning: Binning = "uniform",
    mask: ArrayLike | None = None,
) -> Spread:
    """Return how large errors are where the standard deviation promises alike.

    Args:
        std: a prediction; or standard deviations of any shape.
        error: beside a prediction `y`, else errors of the shape of `std`; their sign does not
            matter.
        bins: how many.
        binning: `"uniform"`, of equal width from the least to the largest `std`, or `"quantile"`,
            of equal counts, as far as equal ones allow: they stay together.
        mask: of the shape of `std`: which errors count. Where it is False they may be NaN.

    Raises:
        TypeError: for a prediction without standard deviation.
        ValueError: if shapes differ, a number is NaN or infinite, or a `std` negative.

    >>> round(spread([1.0, 1.1, 2.0, 2.1], [1.0, -1.0, 1.0, 3.0], bins=2).ence, 4)
    0.0696
    """
    std, error = std_and_error(std, error, "`evaluation.coverage(prediction, y)`", mask)
    stds = spreads(std)
    promised, errors = stds.flatten(), numbers(error, "error", stds).flatten()
    edges = _edges(promised, check_count(bins, "bins"), binning)
    index = torch.bucketize(promised, edges[1:-1], right=True)
    count = len(edges) - 1
    found = (
        edges,
        torch.bincount(index, minlength=count),
        summed_by(index, promised.square(), count),
        summed_by(index, errors.square(), count),
    )
    return Spread(*(each.cpu() for each in found))


def sharpness(std: NumbersGiven) -> float:
    """Return the root of the mean variance: among calibrated predictions, the least is best.

    Source: Kuleshov et al. 2018, section 3.5, which leaves out the root.

    Args:
        std: a prediction; or standard deviations of any shape.

    Raises:
        TypeError: for a prediction without standard deviation.
        ValueError: if one of `std` is negative, NaN or infinite, or there is none.

    >>> sharpness([1.0, 7.0])
    5.0
    """
    std = std_of(std, "`evaluation.interval_width(prediction, level=...)`")
    return math.sqrt(spreads(std).square().mean())


def _edges(values: Tensor, bins: int, binning: Binning) -> Float[Tensor, "B+1"]:
    low, high = values.aminmax()
    steps = torch.arange(bins + 1, device=values.device)
    if is_uniform(binning):
        edges = low + (high - low) * steps.double() / bins
    else:
        edges = ascending(values)[steps * (len(values) - 1) // bins]
    return torch.unique(edges) if low < high else torch.stack([low, high])
