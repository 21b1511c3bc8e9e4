"""Quantile predictions of numbers: some quantiles, without a family of distributions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_same_shape
from duda.doubts import doubt
from duda.predictions.mixture import (
    ROUNDING,
    mixture_of_normals,
    mixture_quantile,
    quantile_at,
)
from duda.predictions.numbers import NumberPrediction
from duda.predictions.terms import Bands, Terms
from duda.predictions.validity import check_draws, check_variances, finite_numbers
from duda.transfer import sent

__all__ = ["QuantilePrediction", "check_levels", "shares_of_levels"]

_USUAL = 0.95  # of the intervals that predictions are compared by


@dataclass(frozen=True, eq=False, repr=False)
class QuantilePrediction(NumberPrediction):
    """The values below which the target lies with given probabilities: the Q `levels`.

    Between two levels quantiles are interpolated linearly; beyond the outermost they are unknown.
    Of M draws that were kept they are those of the mixture. Of others they are the means of theirs
    (Vincentization: Vincent 1912; Ratcliff 1979), which would be too narrow where the draws
    disagree, made as wide as for normal distributions. So are always median and score.

    Args:
        quantiles: `(N, Q, D, *positions)`, not descending in Q, in units of the target.
        levels: `(Q)`, ascending probabilities on both sides of 0.5.
        epistemic: variance over draws of the median, `(N, D, *positions)`; zero by default.
        draws: the M draws' quantiles `(M, N, Q, D, *positions)`, where they were kept.
        joint: whether a draw is one function for all examples.

    >>> answer = QuantilePrediction([[[-1.0], [0.0], [3.0]]], [0.05, 0.5, 0.95])
    >>> answer.quantile(0.05), answer.score
    (tensor([[-1.]], dtype=torch.float64), tensor([[4.]], dtype=torch.float64))
    """

    quantiles: Float[Tensor, "N Q D *positions"]
    levels: Float[Tensor, "Q"]
    epistemic: Float[Tensor, "N D *positions"] = None  # type: ignore[assignment]
    draws: Float[Tensor, "M N Q D *positions"] | None = None
    joint: bool = field(default=False, kw_only=True)

    derived: ClassVar[tuple[str, ...]] = ("median", "score")
    shared: ClassVar[tuple[str, ...]] = ("levels",)

    def __post_init__(self) -> None:
        quantiles = finite_numbers(self.quantiles, "quantiles")
        levels = sent(as_tensor(self.levels, "levels").double(), quantiles.device)
        _check_levels(levels)
        if quantiles.ndim < 3 or levels.shape != quantiles.shape[1:2]:
            raise ValueError(
                f"`quantiles` has shape {tuple(quantiles.shape)} and `levels` "
                f"{tuple(levels.shape)}, expected (N, Q, D, *positions) and (Q,)."
            )
        each = (len(quantiles), *quantiles.shape[2:])
        epistemic = _variances(self.epistemic, quantiles.new_zeros(each))
        _check_uncrossed(quantiles, "quantiles", dim=1)
        draws = None if self.draws is None else finite_numbers(self.draws, "draws")
        check_draws(draws, tuple(quantiles.shape))
        if draws is not None:
            _check_uncrossed(draws, "draws", dim=2)
        checked = {"quantiles": quantiles, "levels": levels, "epistemic": epistemic, "draws": draws}
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def median(self) -> Float[Tensor, "N D *positions"]:
        """The quantile at 0.5, in units of the target; of draws the mean of theirs."""
        return quantile_at(self._without_draws(), self.levels.tolist(), 0.5, dim=1)

    @property
    def centre(self) -> Float[Tensor, "N D *positions"]:
        """The one number to name where only one is asked for: the median."""
        return self.median

    @property
    def interval_levels(self) -> tuple[float, ...]:  # type: ignore[override] # from the levels
        """The central intervals that are known: `central_levels`."""
        return self.central_levels

    @property
    def central_levels(self) -> tuple[float, ...]:
        """The probabilities of the central intervals between two of the levels, and the widest."""
        return _central(self.levels.tolist())

    @property
    def widest_level(self) -> float:
        """The probability of the widest central interval that the levels allow."""
        return self.central_levels[-1]

    @property
    def score_name(self) -> str:  # type: ignore[override] # tells the level
        """What the score is called."""
        return f"width of the {100 * self.widest_level:.3g} % interval"

    score_meaning = (
        "the width of the widest interval between two predicted quantiles, in units of the target"
    )

    @property
    def score(self) -> Float[Tensor, "N D *positions"]:
        """Uncertainty: the width of the widest central interval, in units of the target.

        It contains what draws disagree about, and is the same whether they are kept or not.
        """
        quantiles, levels, level = self._without_draws(), self.levels.tolist(), self.widest_level
        lower, upper = (
            quantile_at(quantiles, levels, (1 + side * level) / 2, dim=1) for side in (-1, 1)
        )
        return (upper - lower).to(self.quantiles.dtype)

    def _without_draws(self) -> Tensor:
        """Return the quantiles as they are where draws are not kept."""
        if self.draws is None:
            return self.quantiles
        medians = quantile_at(self.draws, self.levels.tolist(), 0.5, dim=2)
        variance = (medians - medians.mean(0)).square().mean(0)
        return mixture_of_normals(self.draws.double().mean(0), self.levels, variance)

    def with_epistemic(self, epistemic: Float[Tensor, "N D *positions"]) -> Self:
        """Return the prediction with that part of the median's variance epistemic."""
        return replace(self, epistemic=epistemic)

    def affine(self, factor: Tensor, offset: Tensor) -> Self:
        """Return the prediction of `offset + factor * y`, in float64."""
        factor, offset = (each.expand(self.epistemic.shape) for each in (factor, offset))
        each = factor.unsqueeze(1), offset.unsqueeze(1)
        return replace(
            self,
            quantiles=each[1] + each[0] * self.quantiles.double(),
            epistemic=factor**2 * self.epistemic.double(),
            draws=None if self.draws is None else each[1] + each[0] * self.draws.double(),
        )

    def components(self) -> Sequence[Self]:
        """Return the prediction of each draw; itself alone where no draws were kept."""
        if self.draws is None:
            return [self]
        return [type(self)(each, self.levels) for each in self.draws]

    def quantile(self, q: float) -> Float[Tensor, "N D *positions"]:
        """Return the value below which the target lies with probability `q`.

        Raises:
            ValueError: if `q` is beyond the outermost levels, where nothing is known.
        """
        levels = self.levels.tolist()
        if not levels[0] - ROUNDING <= q <= levels[-1] + ROUNDING:
            raise ValueError(
                f"`q` is {q}, expected {levels[0]} to {levels[-1]}, the outermost levels: give the "
                "likelihood wider ones."
            )
        if self.draws is not None:
            return mixture_quantile(self.draws, self.levels, q)
        return quantile_at(self.quantiles, levels, q, dim=1)

    def interval(
        self, level: float
    ) -> tuple[Float[Tensor, "N D *positions"], Float[Tensor, "N D *positions"]]:
        """Return the ends of the central interval that holds the target with probability `level`.

        Raises:
            ValueError: unless 0 < `level` <= `widest_level`.
        """
        if not 0 < level <= self.widest_level + ROUNDING:
            raise ValueError(
                f"`level` is {level}, expected a probability above 0 and at most "
                f"{self.widest_level:.6g}, the widest that `levels` allow: give the likelihood "
                "wider ones."
            )
        return self.quantile((1 - level) / 2), self.quantile((1 + level) / 2)

    def crps(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        """Return twice the pinball loss, weighted over levels: the CRPS as they become dense.

        Each level stands for the probabilities that are nearest to it. Source: Laio & Tamea 2007.
        """
        shares = shares_of_levels(self.levels)
        return 2 * torch.einsum("nq...,q->n...", self.pinball(y), shares)

    def pinball(self, y: ArrayLike) -> Float[Tensor, "N Q D *positions"]:
        """Return the pinball loss of each quantile at `y`, in units of the target, float64.

        Source: Koenker & Bassett 1978.
        """
        levels = self.levels.view(-1, *[1] * (self.quantiles.ndim - 2))
        above = self._target(y).unsqueeze(1) - self.quantiles.double()
        return torch.maximum(levels * above, (levels - 1) * above)

    def contributions(self, y: ArrayLike) -> dict[str, Terms]:
        """Return squared errors, pinball losses, coverage and width of the widest interval."""
        level = self.widest_level
        lower, upper = self.interval(level)
        # Only intervals that promise the same can be set beside those of others.
        usual = abs(level - _USUAL) <= ROUNDING
        return {
            "rmse": Terms(self.loss(y), "root-mean"),
            "pinball": Terms(self.pinball(y).mean(1)),
            "coverage" if usual else "coverage_surplus": Terms(
                self._inside(y, level), less=0.0 if usual else level
            ),
            "width": Terms((upper - lower).double()),
        }

    def bands(self) -> Bands:
        """Return the central intervals between two of the levels."""
        *others, last = (f"{100 * level:.3g} %" for level in self.central_levels)
        shares = f"{', '.join(others)} and {last}" if others else last
        ends = [self.interval(level) for level in reversed(self.central_levels)]
        return Bands("median", f"should hold {shares} of the true values", ends)


def _check_uncrossed(quantiles: Tensor, name: str, dim: int) -> None:
    def look() -> None:
        raise ValueError(
            f"`{name}` cross, expected quantiles not to descend with their levels: call "
            f"`{name}.sort(dim={dim}).values`."
        )

    doubt(lambda: (quantiles.diff(dim=dim) < 0).any(), look)


def _variances(given: ArrayLike | None, zeros: Tensor) -> Tensor:
    """Return variances over draws, checked; zeros if none are given."""
    if given is None:
        return zeros
    found = finite_numbers(given, "epistemic")
    check_same_shape(found, "epistemic", tuple(zeros.shape), "`quantiles` without their levels")
    check_variances(found, "epistemic", remedy="")
    return found


def _central(levels: Sequence[float]) -> tuple[float, ...]:
    both = [low for low in levels if any(abs(1 - low - high) <= ROUNDING for high in levels)]
    lower = [low for low in both if low < 0.5]
    outermost = max(levels[0], 1 - levels[-1])
    if not lower or outermost < lower[0] - ROUNDING:
        lower.insert(0, outermost)
    return tuple(1 - 2 * low for low in reversed(lower))


def shares_of_levels(levels: Float[Tensor, "Q"]) -> Float[Tensor, "Q"]:
    """Return how many of all probabilities are nearest to each level.

    >>> shares_of_levels(torch.tensor([0.25, 0.75]))
    tensor([0.5000, 0.5000])
    """
    middles = (levels[1:] + levels[:-1]) / 2
    return torch.cat([levels.new_zeros(1), middles, levels.new_ones(1)]).diff()


def _check_levels(levels: Tensor) -> None:
    """Raise the error of `check_levels`."""

    def odd() -> Tensor:
        inside, far = (levels > 0) & (levels < 1), levels.diff() > 2 * ROUNDING
        return ~(inside.all() & far.all() & (levels[0] < 0.5) & (levels[-1] > 0.5))

    def look() -> None:
        check_levels(levels.flatten().tolist())

    if levels.ndim == 1 and len(levels):
        doubt(odd, look)
    else:
        look()


def check_levels(levels: Sequence[float]) -> None:
    """Raise a `ValueError` unless `levels` ascend in (0, 1), with some on both sides of 0.5."""
    given = f"`levels` is {tuple(levels)!r}, expected "
    if not levels:
        raise ValueError(f"{given}at least two, such as (0.05, 0.5, 0.95).")
    if not all(0 < level < 1 for level in levels):
        raise ValueError(f"{given}probabilities between 0 and 1.")
    if any(b - a <= 2 * ROUNDING for a, b in itertools.pairwise(levels)):
        raise ValueError(f"{given}ascending numbers: sort them, and name each once.")
    if not levels[0] < 0.5 < levels[-1]:
        raise ValueError(
            f"{given}some below 0.5 and some above: an interval and its median need both."
        )
