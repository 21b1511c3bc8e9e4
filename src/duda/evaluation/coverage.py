"""Coverage of prediction intervals: the share of targets inside, level by level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_share
from duda.evaluation.numbers import compared
from duda.predictions.given import NumbersGiven
from duda.shown import Shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Coverage", "binomial_band", "coverage", "promised_levels"]

_LEVELS: tuple[float, ...] = tuple(percent / 100 for percent in range(5, 100, 5))


@dataclass(frozen=True, eq=False, repr=False)
class Coverage(Shown):
    """The promised and the observed share of targets inside intervals.

    Source: Kuleshov et al. 2018, section 3.5.

    Args:
        levels: `(L)`, promised, float64.
        inside: `(L)`, targets inside, int64.
        total: targets in all.
        central: whether as much is promised to lie below an interval as above it; else intervals
            reach from below all numbers up to a quantile.
    """

    headline = ("mean_error",)

    levels: Float[Tensor, "L"]
    inside: Int[Tensor, "L"]
    total: int
    central: bool = True

    @property
    def observed(self) -> Float[Tensor, "L"]:
        """Share inside: if central, below its level it is too sure, above it too cautious."""
        return self.inside.double() / self.total

    @property
    def mean_error(self) -> float:
        """Mean over levels of |observed - promised|."""
        return float(self._errors().abs().mean())

    @property
    def max_error(self) -> float:
        """Maximum over levels of |observed - promised|."""
        return float(self._errors().abs().max())

    @property
    def rms_error(self) -> float:
        """Root of the mean over levels of the squared error (RMSCE)."""
        return float(self._errors().square().mean().sqrt())

    @property
    def auce(self) -> float:
        """Area between the curve and the diagonal, between the lowest and the highest level.

        It is also called miscalibration area. Source: Gustafsson et al. 2020.

        Raises:
            ValueError: if there is only one level.
        """
        if len(self.levels) < 2:
            raise ValueError("`levels` holds one level, expected at least 2: there is no area.")
        order = self.levels.argsort()
        step, error = self.levels[order].diff(), self._errors()[order]
        left, right = error[:-1], error[1:]
        size = left.abs() + right.abs()
        # Where the curve crosses the diagonal in between, there are two triangles.
        crossing = (left.square() + right.square()) / (2 * size)
        return float((step * torch.where(left * right < 0, crossing, size / 2)).sum())

    @property
    def null_mean_error(self) -> float:
        """What `mean_error` is on average for a calibrated model and as many independent targets.

        Exact, by the mean absolute deviation of the binomial distribution.
        Source: De Moivre 1730; see Diaconis & Zabell 1991.
        """
        from scipy.stats import binom

        level, count = self.levels.numpy(), self.total
        likeliest = binom.pmf((count * level).astype(int), count - 1, level)
        return float((2 * level * (1 - level) * likeliest).mean())

    def p_value(self, repeats: int = 1000, seed: int = 0) -> float:
        """Return how often `mean_error` is as large for a calibrated model and independent targets.

        Such a model's targets fall between the levels as often as these are apart, so that their
        numbers are multinomial; `repeats` are drawn, and this one counts as one of them.
        """
        levels = self.levels.sort().values.numpy()
        gaps = np.diff(levels, prepend=0.0, append=1.0)
        drawn = np.random.default_rng(seed).multinomial(self.total, gaps, size=repeats)
        errors = np.abs(drawn.cumsum(1)[:, :-1] / self.total - levels).mean(1)
        as_large = int((errors >= self.mean_error - 1e-12).sum())
        return (1 + as_large) / (1 + repeats)

    def null_band(self, level: float = 0.95) -> tuple[Float[Tensor, "L"], Float[Tensor, "L"]]:
        """Return between which shares a calibrated model lies, with probability `level` at each.

        By the binomial distribution: for targets that are independent of each other.

        Raises:
            ValueError: unless 0 < `level` < 1.
        """
        return binomial_band(self.levels, self.total, level)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the observed over the promised share, in the band of a calibrated model."""
        from duda.plots.regression import coverage_curve

        order = self.levels.argsort()
        low, high = self.null_band()
        shares = (each[order] for each in (self.levels, self.observed, low, high))
        return coverage_curve(*shares, central=self.central, ax=ax)

    def _errors(self) -> Float[Tensor, "L"]:
        return self.observed - self.levels


def coverage(
    prediction: NumbersGiven,
    y: ArrayLike,
    levels: ArrayLike | None = None,
    *,
    std: ArrayLike | None = None,
    mask: ArrayLike | None = None,
) -> Coverage:
    """Return the share of `y` inside the central interval of each level, whose ends belong to it.

    For many levels at once `pit(prediction, y).coverage` is faster, and the same but for rounding.
    An interval of counts holds more than it is asked to: its level becomes what it promises, the
    mean of its probabilities by the prediction.

    Args:
        prediction: intervals come from its `interval(level)`; or means, of Gaussians.
        y: of the shape of `prediction.centre`, or of the means; the share is over examples and
            outputs.
        levels: probabilities between 0 and 1; by default those that the prediction knows, or 0.05
            to 0.95 if it knows all.
        std: one for each of the means.
        mask: of `y`'s shape: which targets count. Where it is False `y` may be NaN.

    Raises:
        TypeError: for a prediction of classes, or means without `std`.
        ValueError: if shapes differ, there are no targets, NaN or infinite ones, or a level is not
            between 0 and 1.

    >>> coverage([0.0, 0.0], [0.5, 1.5], levels=[0.5, 0.95], std=[1.0, 1.0]).observed
    tensor([0.5000, 1.0000], dtype=torch.float64)
    """
    of_classes = "`evaluation.reliability(prediction, y)`"
    found = compared(prediction, y, std, mask, instead=of_classes)
    known = found.prediction.interval_levels or _LEVELS
    promised = promised_levels(known if levels is None else levels)
    total = int(found.counted.sum())
    inside = torch.zeros(len(promised), dtype=torch.int64, device=found.y.device)
    surplus = torch.zeros(len(promised), dtype=torch.float64, device=found.y.device)
    for rows, values, counted in found:
        for place, level in enumerate(promised.tolist()):
            lower, upper = rows.interval(level)
            inside[place] += ((lower <= values) & (values <= upper) & counted).sum()
            if rows.can("interval_probability"):
                held = rows.interval_probability(level)  # type: ignore[attr-defined] # it can
                surplus[place] += (held - level)[counted].sum()
    return Coverage(promised + surplus.cpu() / total, inside.cpu(), total)


def promised_levels(levels: ArrayLike) -> Float[Tensor, "L"]:
    """Return `levels` in float64, if they are a list of probabilities between 0 and 1."""
    promised = as_tensor(levels, "levels").cpu().double()
    if promised.ndim != 1 or not bool(((promised > 0) & (promised < 1)).all()) or not len(promised):
        raise ValueError(
            f"`levels` is {levels!r}, expected a list of probabilities between 0 and 1."
        )
    return promised


def binomial_band(
    shares: Float[Tensor, "L"], total: int, level: float
) -> tuple[Float[Tensor, "L"], Float[Tensor, "L"]]:
    """Return between which observed shares true ones give, of `total` independent examples.

    >>> binomial_band(torch.tensor([0.5]), 100, 0.95)
    (tensor([0.4000], dtype=torch.float64), tensor([0.6000], dtype=torch.float64))
    """
    from scipy.stats import binom

    level = check_share(level, "level")
    low, high = binom.interval(level, total, shares.double().numpy())
    return torch.from_numpy(low) / total, torch.from_numpy(high) / total
