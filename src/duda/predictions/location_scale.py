"""Predictions of numbers by location and scale: what the families of distributions share."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_same_shape
from duda.predictions.base import (
    Prediction,
    check_draws,
    check_no_nan,
    check_scale,
    finite_numbers,
)

__all__ = ["LocationScalePrediction"]

_BISECTIONS = 60  # halve any bracket of float64 numbers to its last digits


@dataclass(frozen=True, eq=False, repr=False)
class LocationScalePrediction(Prediction):
    """The mixture of M distributions of one family, by its moments.

    The variance splits into `aleatoric`, the mean of the variances, and `epistemic`, the variance
    of the means. Quantiles, densities and intervals are those of the family's distribution with
    these moments, and those of the exact mixture where the draws were kept. A family is told by
    three functions of its member with mean 0 and variance 1.
    """

    mean: Float[Tensor, "N D *positions"]
    aleatoric: Float[Tensor, "N D *positions"]
    epistemic: Float[Tensor, "N D *positions"] = None  # type: ignore[assignment]
    draws: Float[Tensor, "M N 2*D *positions"] | None = None

    derived: ClassVar[tuple[str, ...]] = ("variance", "std", "score")

    def __post_init__(self) -> None:
        mean = finite_numbers(self.mean, "mean")
        if mean.ndim < 2:
            raise ValueError(
                f"`mean` has shape {tuple(mean.shape)}, expected (N, D, *positions): for one "
                "output call `mean.unsqueeze(1)`."
            )
        object.__setattr__(self, "mean", mean)
        for name in ("aleatoric", "epistemic"):
            given = getattr(self, name)
            value = torch.zeros_like(mean) if given is None else finite_numbers(given, name)
            check_same_shape(value, name, tuple(mean.shape), "`mean`")
            _check_variances(value, name)
            object.__setattr__(self, name, value)
        if self.draws is not None:
            draws = finite_numbers(self.draws, "draws")
            check_draws(draws, (len(mean), 2 * mean.shape[1], *mean.shape[2:]))
            _check_variances(draws.chunk(2, dim=2)[1], "draws")
            object.__setattr__(self, "draws", draws)

    @staticmethod
    @abstractmethod
    def _standard_cdf(z: Tensor) -> Tensor:
        """Return the probability of at most `z`."""

    @staticmethod
    @abstractmethod
    def _standard_log_density(z: Tensor) -> Tensor:
        """Return the log-density at `z`, nats."""

    @staticmethod
    @abstractmethod
    def _standard_quantile(q: float) -> float:
        """Return the value that has the probability `q` below it."""

    @property
    def variance(self) -> Float[Tensor, "N D *positions"]:
        """Total variance."""
        return self.aleatoric + self.epistemic

    @property
    def std(self) -> Float[Tensor, "N D *positions"]:
        """Standard deviation."""
        return self.variance.sqrt()

    @property
    def centre(self) -> Float[Tensor, "N D *positions"]:
        """The one number to name where only one is asked for: the mean."""
        return self.mean

    @property
    def score(self) -> Float[Tensor, "N D *positions"]:
        """Uncertainty: the standard deviation, in units of the target."""
        return self.std

    def rescaled(self, factor: float, offset: float = 0.0) -> Self:
        """Return the prediction of `offset + factor * y`, such as y in its own units.

        Raises:
            ValueError: unless 0 < `factor`, and both are finite.
        """
        check_scale(factor, offset)
        draws = self.draws
        if draws is not None:
            means, variances = draws.chunk(2, dim=2)
            draws = torch.cat([offset + factor * means, factor**2 * variances], dim=2)
        return type(self)(
            offset + factor * self.mean,
            factor**2 * self.aleatoric,
            factor**2 * self.epistemic,
            draws,
        )

    def quantile(self, q: float) -> Float[Tensor, "N D *positions"]:
        """Return the value below which the target lies with probability `q`.

        Raises:
            ValueError: unless 0 < `q` < 1.
        """
        if not 0 < q < 1:
            raise ValueError(f"`q` is {q}, expected a probability between 0 and 1.")
        z = self._standard_quantile(q)
        if self.draws is None:
            return self.mean + z * self.std
        mean, std = self._components()
        # A mixture's quantile lies between those of its components.
        ends = mean.double() + z * std.double()
        low, high = ends.amin(0), ends.amax(0)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            below = self._cdf(middle, mean.double(), std.double()).mean(0) < q
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return high.to(self.mean.dtype)

    def interval(
        self, level: float
    ) -> tuple[Float[Tensor, "N D *positions"], Float[Tensor, "N D *positions"]]:
        """Return the ends of the central interval that holds the target with probability `level`.

        Raises:
            ValueError: unless 0 < `level` < 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"`level` is {level}, expected a probability between 0 and 1.")
        return self.quantile((1 - level) / 2), self.quantile((1 + level) / 2)

    def cdf(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        """Return the probability that the target is at most `y`, of `mean`'s shape."""
        mean, std = self._components()
        return self._cdf(self._target(y), mean, std).mean(0)

    def log_prob(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        """Return the log-density at `y`, of `mean`'s shape, for each output; nats."""
        mean, std = self._components()
        return self._log_density(self._target(y), mean, std).logsumexp(0) - math.log(len(mean))

    def _cdf(self, y: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """Return the probability of at most `y`, a step at `mean` where `std` is 0."""
        smooth = self._standard_cdf((y - mean) / std)
        return torch.where(std > 0, smooth, (y >= mean).to(mean.dtype))

    def _log_density(self, y: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """Return the log-density at `y`, a point mass where `std` is 0."""
        smooth = self._standard_log_density((y - mean) / std) - std.log()
        point = torch.where(y == mean, math.inf, -math.inf).to(mean.dtype)
        return torch.where(std > 0, smooth, point)

    def _components(self) -> tuple[Tensor, Tensor]:
        """Return means and standard deviations `(M, N, D, *positions)`; M = 1 without draws."""
        if self.draws is None:
            return self.mean[None], self.std[None]
        mean, variance = self.draws.chunk(2, dim=2)
        return mean, variance.sqrt()

    def _target(self, y: ArrayLike) -> Tensor:
        target = as_tensor(y, "y").to(self.mean)
        check_same_shape(target, "y", tuple(self.mean.shape), "the predicted mean")
        check_no_nan(target, "y")
        return target


def _check_variances(value: Tensor, name: str) -> None:
    if bool((value < 0).any()):
        raise ValueError(
            f"`{name}` has a variance of {float(value.min()):.4g}, expected at least 0: square "
            "standard deviations."
        )
