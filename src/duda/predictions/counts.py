"""Predictions of counts: mixtures of laws of whole numbers from 0, told by their draws."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import NoReturn

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike
from duda.predictions.crps import Law
from duda.predictions.drawn import DrawnPrediction
from duda.predictions.summed_crps import summed_crps

__all__ = ["CountPrediction"]


class CountPrediction(DrawnPrediction):
    """The mixture of M laws of counts.

    `log_prob` is the logarithm of a probability, minus infinity of what is no count. A quantile is
    the least count up to which the probability is reached, and an interval has both of its ends, so
    that it holds at least the share that it promises: `interval_probability` is that which it has.
    """

    @classmethod
    @abstractmethod
    def member_smooth_cdf(cls, y: Tensor, *parameters: Tensor) -> Tensor:
        """Return the probability of at most `y`, continued smoothly between counts; from 0 on."""

    @classmethod
    @abstractmethod
    def member_log_mass(cls, y: Tensor, *parameters: Tensor) -> Tensor:
        """Return the log-probability of counts."""

    @classmethod
    def member_cdf(cls, y: Tensor, *parameters: Tensor) -> Tensor:
        """Return the probability of at most `y`."""
        reached = cls.member_smooth_cdf(y.floor().clamp(min=0), *parameters)
        return torch.where(y >= 0, reached, 0.0)

    @classmethod
    def member_log_prob(cls, y: Tensor, *parameters: Tensor) -> Tensor:
        """Return the log-probability of `y`, nats, minus infinity unless it is a count."""
        counts = (y >= 0) & (y == y.floor()) & y.isfinite()
        found = cls.member_log_mass(torch.where(counts, y, 0.0), *parameters)
        return torch.where(counts, found, -math.inf)

    @classmethod
    def member_quantile(cls, q: Tensor, *parameters: Tensor) -> Tensor:
        """Return the least counts up to which the probabilities `q` are reached."""
        mean, variance = cls.member_moments(*parameters)
        return _least(lambda y: cls.member_cdf(y, *parameters), q, mean, variance)

    def _quantile(self, q: float, members: tuple[Tensor, ...]) -> Tensor:
        mean, aleatoric, epistemic = self._moments
        level = mean.new_full((), q)
        return _least(self._cdf_of(members), level, mean, aleatoric + epistemic)

    def pit(
        self, y: ArrayLike, generator: torch.Generator | None = None
    ) -> Float[Tensor, "N D *positions"]:
        """Return P(target < y) + u P(y), with u uniform: uniform if the prediction is right.

        Source: Czado, Gneiting & Held 2009, eq. 1.
        """
        target = self._target(y)
        uniform = torch.rand(target.shape, generator=generator, dtype=target.dtype)
        return torch.lerp(self.cdf(target.ceil() - 1), self.cdf(target), uniform.to(target.device))

    def interval_probability(self, level: float) -> Float[Tensor, "N D *positions"]:
        """Return the probability that the central interval holds, at least `level`."""
        lower, upper = self.interval(level)
        return self.cdf(upper) - self.cdf(lower - 1)

    def crps(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        """Return the CRPS at `y` of the exact mixture, in counts, float64."""
        law = Law(self.member_smooth_cdf, self._near_quantile)
        return summed_crps(law, self._members(), self._target(y))

    @classmethod
    def _near_quantile(cls, q: Tensor, *parameters: Tensor) -> Tensor:
        """Return about the quantiles, those of a gamma variable with mean and variance.

        Source: Wilson & Hilferty 1931.
        """
        mean, variance = cls.member_moments(*parameters)
        shape = mean.square() / variance
        cube = 1 - 1 / (9 * shape) + torch.special.ndtri(q) / (3 * shape.sqrt())
        found: Tensor = mean * cube.clamp(min=0) ** 3
        return found

    def can(self, ability: str) -> bool:
        """Return whether counts have this ability."""
        return ability != "affine" and super().can(ability)

    def affine(self, factor: Tensor, offset: Tensor) -> NoReturn:
        """Raise a `TypeError`: what is stretched or moved is no count."""
        self._lacks("affine", "`decisions.QuantileRecalibration` for levels that come true")


def _least(cdf: Callable[[Tensor], Tensor], q: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Return the least counts that `cdf` brings to `q`, by halves.

    Between which they lie is known from mean and variance by Cantelli's inequality.
    """
    low = (mean - ((1 - q) / q * variance).sqrt()).floor().clamp(min=0) - 1
    high = (mean + (q / (1 - q) * variance).sqrt()).ceil()
    widest = float((high - low).max()) if high.numel() else 1.0
    for _ in range(math.ceil(math.log2(widest))):
        middle = ((low + high) / 2).floor()
        reached = cdf(middle) >= q
        low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
    return high
