"""Affine predictions: offset + factor * y of a family that has no such form of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NoReturn

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, check_same_shape
from duda.doubts import doubt
from duda.predictions.numbers import NumberPrediction
from duda.predictions.terms import Parts
from duda.predictions.validity import finite_numbers

__all__ = ["AffinePrediction"]


@dataclass(frozen=True, eq=False, repr=False)
class AffinePrediction(NumberPrediction):
    """The distribution of `offset + factor * y`, where `base` predicts y.

    Args:
        base: any prediction of numbers.
        factor: `(N, D, *positions)`, above 0.
        offset: `(N, D, *positions)`, in units of the new target.
    """

    base: NumberPrediction
    factor: Float[Tensor, "N D *positions"]
    offset: Float[Tensor, "N D *positions"]
    joint: bool = field(default=False, kw_only=True)

    derived: ClassVar[tuple[str, ...]] = ("score",)

    def __post_init__(self) -> None:
        shape = tuple(self.base.centre.shape)
        for name in ("factor", "offset"):
            value = finite_numbers(getattr(self, name), name)
            check_same_shape(value, name, shape, "the prediction")
            object.__setattr__(self, name, value)
        doubt(lambda: ~(self.factor > 0).all(), self._fail)

    def _fail(self) -> NoReturn:
        lowest = float(self.factor.min())
        raise ValueError(f"`factor` holds {lowest:.4g}, expected numbers above 0.")

    @property
    def mean(self) -> Tensor:  # type: ignore[override] # follows from the base
        """Mean, in units of the target."""
        return self._moved(self.base.mean)

    @property
    def std(self) -> Tensor:  # type: ignore[override] # follows from the base
        """Standard deviation, in units of the target."""
        return self.factor.double() * self.base.std

    @property
    def centre(self) -> Tensor:
        """The one number to name where only one is asked for."""
        return self._moved(self.base.centre)

    @property
    def score(self) -> Tensor:
        """Uncertainty as the base tells it, in units of the target where it has those."""
        known = self.base.score
        return self.factor * known if self.score_unit == NumberPrediction.score_unit else known

    @property
    def score_name(self) -> str:  # type: ignore[override] # of the base
        """What the score is called."""
        return self.base.score_name

    @property
    def score_unit(self) -> str:  # type: ignore[override] # of the base
        """In which unit the score is."""
        return self.base.score_unit

    @property
    def score_meaning(self) -> str:  # type: ignore[override] # of the base
        """What uncertainty is."""
        return self.base.score_meaning

    @property
    def draws(self) -> Tensor | None:  # type: ignore[override] # follows from the base
        """The draws of the base, in its units; `components` are in those of the target."""
        return self.base.draws

    @property
    def interval_levels(self) -> tuple[float, ...] | None:  # type: ignore[override] # of the base
        """The central intervals that are known; None if all are."""
        return self.base.interval_levels

    def quantile(self, q: float) -> Tensor:
        """Return the value below which the target lies with probability `q`."""
        return self._moved(self.base.quantile(q))

    def cdf(self, y: ArrayLike) -> Tensor:
        """Return the probability that the target is at most `y`."""
        return self.base.cdf(self._inverse(y))

    def pit(self, y: ArrayLike, generator: torch.Generator | None = None) -> Tensor:
        """Return `cdf(y)`, or in between where it jumps at `y`."""
        return self.base.pit(self._inverse(y), generator)

    def log_prob(self, y: ArrayLike) -> Tensor:
        """Return the log-density at `y`, nats."""
        return self.base.log_prob(self._inverse(y)) - self.factor.double().log()

    def sample(self, count: int, seed: int | None = None) -> Tensor:
        """Return `count` targets drawn for each output by itself."""
        return self._moved(self.base.sample(count, seed))

    def components(self) -> Sequence[NumberPrediction]:
        """Return the prediction of each draw."""
        return [AffinePrediction(each, self.factor, self.offset) for each in self.base.components()]

    def crps(self, y: ArrayLike) -> Tensor:
        """Return the continuous ranked probability score, in units of the target."""
        return self.factor.double() * self.base.crps(self._inverse(y))

    def parts(self) -> Parts | None:
        """Return both parts of the uncertainty, where they are standard deviations."""
        known = self.base.parts()
        if known is None:
            return None
        return Parts(self.factor * known.aleatoric, self.factor * known.epistemic, known.unit)

    def can(self, ability: str) -> bool:
        """Return whether the base has this ability, and it is passed on."""
        return self.base.can(ability) and hasattr(self, ability)

    def _moved(self, y: Tensor) -> Tensor:
        return self.offset.double() + self.factor.double() * y

    def _inverse(self, y: ArrayLike) -> Tensor:
        return (self._target(y) - self.offset) / self.factor
