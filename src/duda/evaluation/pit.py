"""Probability integral transform (PIT): one pass that holds all of regression's calibration.

A target's PIT value is the probability F(y) that the prediction gave to numbers up to it. For a
calibrated model these are uniform on [0, 1]. Source: Dawid 1984; Gneiting et al. 2007.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_count, check_finite, seeded
from duda.devices import on_exact_device
from duda.evaluation.coverage import Coverage, binomial_band
from duda.evaluation.numbers import check_members, compared
from duda.inputs import numbers
from duda.predictions.given import NumbersGiven
from duda.shown import Shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Pit", "pit", "pit_of_draws", "pit_of_values", "tally"]


@dataclass(frozen=True, eq=False, repr=False)
class Pit(Shown):
    """How many PIT values lie on each edge k / B and between two: all figures are exact there.

    Two over the same edges add up to that of all their targets.

    Args:
        counts: `(2 B + 1)`, int64: those on the edge 0, between 0 and 1 / B, on the edge 1 / B, ...
    """

    headline = ("total",)

    counts: Int[Tensor, "2*B+1"]

    def __add__(self, other: Pit) -> Pit:
        if self.bins != other.bins:
            raise ValueError(
                f"the bins differ ({self.bins} and {other.bins} of them): count both parts over "
                "the same `bins`."
            )
        return Pit(self.counts + other.counts)

    @property
    def bins(self) -> int:
        """The number B of bins of equal width."""
        return len(self.counts) // 2

    @property
    def total(self) -> int:
        """The number of targets."""
        return int(self.counts.sum())

    @property
    def coverage(self) -> Coverage:
        """Targets inside the central intervals of all levels 1 - 2 k / B, in ascending order.

        Both ends belong to an interval. With B = 200 the levels are 0, 0.01, ..., 1.
        """
        up_to, below = self._cumulated()
        lower = torch.arange(self.bins // 2, -1, -1)
        inside = up_to[self.bins - lower] - below[lower]
        return Coverage(_shares(self.bins - 2 * lower, self.bins), inside, self.total)

    @property
    def one_sided(self) -> Coverage:
        """Targets up to the quantile of each level k / B, which belongs to them."""
        up_to, _ = self._cumulated()
        levels = _shares(torch.arange(self.bins + 1), self.bins)
        return Coverage(levels, up_to, self.total, central=False)

    def histogram(self, bars: int = 20) -> tuple[Float[Tensor, "K+1"], Float[Tensor, "K"]]:
        """Return the edges of `bars` bars and the targets in each; at most B bars.

        One that lies on an edge between two bars counts half for each of them.
        """
        bars = min(check_count(bars, "bars"), self.bins)
        places = (torch.arange(bars + 1) * self.bins / bars).round().long()
        up_to, below = self._cumulated()
        halved = (up_to + below).double() / 2
        halved[0], halved[-1] = 0, up_to[-1]
        return _shares(places, self.bins), halved[places].diff()

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the PIT histogram, in the band of a calibrated model.

        Hollow in the middle: too sure. Humped: too cautious. Sloping: biased.
        """
        from duda.plots.regression import pit_histogram

        edges, counts = self.histogram()
        low, high = binomial_band(edges.diff(), self.total, 0.95)
        return pit_histogram(edges, counts / self.total, low, high, ax)

    def _cumulated(self) -> tuple[Int[Tensor, "B+1"], Int[Tensor, "B+1"]]:
        """Return how many values are at most, and how many are less than each edge."""
        up_to = self.counts.cumsum(0)[::2]
        return up_to, up_to - self.counts[::2]


def pit(
    prediction: NumbersGiven,
    y: ArrayLike,
    *,
    std: ArrayLike | None = None,
    bins: int = 200,
    mask: ArrayLike | None = None,
    seed: int = 0,
) -> Pit:
    """Return how often each probability F(y) came, over examples and outputs.

    F is that of the exact mixture where the prediction kept its draws. At a standard deviation of
    0 it is a step, and a target on it has the middle of the step. Counts y have a value that is
    drawn between F(y - 1) and F(y) (randomized PIT: Czado et al. 2009).

    Args:
        prediction: of numbers, with a distribution function; or means, of Gaussians.
        y: of the shape of `prediction.centre`, or of the means.
        std: one for each of the means.
        bins: how fine [0, 1] is divided; an even number, for levels down to 0.
        mask: of `y`'s shape: which targets count. Where it is False `y` may be NaN.
        seed: of what is drawn for counts.

    Raises:
        TypeError: for a prediction without F, such as one of quantiles or of classes, or means
            without `std`.
        ValueError: if shapes differ, or there are NaN, infinite or no targets.

    >>> pit([0.0, 0.0], [-1.0, 2.0], std=[1.0, 1.0], bins=4).one_sided.inside
    tensor([0, 1, 1, 1, 2])
    """
    return Pit(tally(prediction, y, std, bins, mask, seed).cpu())


def tally(
    prediction: NumbersGiven,
    y: ArrayLike,
    std: ArrayLike | None,
    bins: int,
    mask: ArrayLike | None,
    seed: int,
    *,
    may_be_empty: bool = False,
) -> Int[Tensor, "2*B+1"]:
    """Return the counts of `pit` where they were made, and of nothing if it `may_be_empty`."""
    of_classes = "`evaluation.reliability(prediction, y)`"
    found = compared(prediction, y, std, mask, instead=of_classes, may_be_empty=may_be_empty)
    found.prediction.check_can("cdf", instead="`evaluation.coverage(prediction, y)`")
    size = 2 * check_count(bins, "bins") + 1
    counts = torch.zeros(size, dtype=torch.int64, device=found.y.device)
    generator = seeded(seed)
    for rows, values, counted in found:
        counts += _counts(rows.pit(values, generator)[counted].double(), bins)
    return counts


def pit_of_draws(draws: ArrayLike, y: ArrayLike) -> Pit:
    """Return the rank histogram of M draws: in which of the M + 1 gaps between them `y` lies.

    The ranks are uniform if `y` is one more draw of the same distribution, for any M. A target
    that ties with draws has the middle of its ranks. Source: Hamill 2001.

    Args:
        draws: `(M, *shape)`.
        y: `(*shape)`.

    Raises:
        ValueError: if shapes differ, or a number is NaN or infinite.

    >>> pit_of_draws([[0.0], [1.0], [2.0]], [1.5]).histogram()[1]
    tensor([0., 0., 1., 0.], dtype=torch.float64)
    """
    members = on_exact_device(as_tensor(draws, "draws"))
    values = numbers(y, "y").to(members.device)
    check_members(members, "draws", values)
    check_finite(members, "draws")
    doubled = torch.ones_like(values, dtype=torch.int64)
    for member in members:
        doubled += 2 * (member < values) + (member == values)
    # 2 (M + 1) times the PIT value is also the number of its cell: odd between two edges.
    cells = torch.bincount(doubled.flatten(), minlength=2 * len(members) + 3)
    return Pit(cells.cpu())


def pit_of_values(values: ArrayLike, *, bins: int = 200) -> Pit:
    """Return the counts of PIT values F(y) that any program computed, of any shape.

    Raises:
        ValueError: if a value is NaN or not in [0, 1], or there is none.

    >>> pit_of_values([0.1, 0.5, 0.9], bins=2).counts
    tensor([0, 1, 1, 1, 0])
    """
    return Pit(_counts(numbers(values, "values").flatten(), check_count(bins, "bins")).cpu())


def _counts(values: Float[Tensor, "n"], bins: int) -> Int[Tensor, "2*B+1"]:
    low, high = values.aminmax() if len(values) else (0.0, 1.0)
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"`values` lies in [{low:.4g}, {high:.4g}], expected probabilities in [0, 1]."
        )
    edges = _shares(torch.arange(bins + 1, device=values.device), bins)
    # Searching costs several times as much. The product may be one too large near an edge, for the
    # edge itself to settle, and thanks to its surplus is never too small.
    place = (values * (bins * (1 + 1e-15))).long()
    place -= (values < edges[place]).long()
    cell = 2 * place + (values != edges[place])
    return torch.bincount(cell, minlength=2 * bins + 1)


def _shares(numerators: Tensor, denominator: int) -> Float[Tensor, "K"]:
    """Return k / B, the float64 nearest to it, so that 0.6 lies on the edge 3 / 5."""
    return numerators.double() / denominator
