"""Location-scale families: Gaussian, Laplace and Student's t by mean and variance, and mixtures."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, check_same_shape
from duda.predictions.crps import Distances, mixture_crps
from duda.predictions.members import MembersPrediction
from duda.predictions.numbers import NumberPrediction
from duda.predictions.terms import Parts
from duda.predictions.validity import check_draws, check_variances, finite_numbers

__all__ = ["LocationScalePrediction"]


@dataclass(frozen=True, eq=False, repr=False)
class LocationScalePrediction(MembersPrediction):
    """The mixture of M distributions of one family, by its moments.

    The variance splits into `aleatoric`, the mean of the variances, and `epistemic`, the variance
    of the means. Quantiles, densities and intervals are those of the family's distribution with
    these moments, and those of the exact mixture where the draws were kept. A family is told by
    functions of its member with mean 0 and variance 1, which get its `shape_parameters` too, all
    in float64.

    Attributes:
        shape_parameters: the names of what else a member has, each of the mean's shape.
        distances: the mean distances of the family, where they have a closed form.
    """

    mean: Float[Tensor, "N D *positions"]
    aleatoric: Float[Tensor, "N D *positions"]
    epistemic: Float[Tensor, "N D *positions"] = None  # type: ignore[assignment]
    draws: Float[Tensor, "M N K*D *positions"] | None = None
    joint: bool = field(default=False, kw_only=True)

    derived: ClassVar[tuple[str, ...]] = ("variance", "std", "score")
    shape_parameters: ClassVar[tuple[str, ...]] = ()
    distances: ClassVar[Distances | None] = None

    def __post_init__(self) -> None:
        mean = finite_numbers(self.mean, "mean")
        if mean.ndim < 2:
            call = "mean.unsqueeze(1)" if mean.ndim else "mean.view(1, 1)"
            raise ValueError(
                f"`mean` has shape {tuple(mean.shape)}, expected (N, D, *positions): for one "
                f"output call `{call}`."
            )
        object.__setattr__(self, "mean", mean)
        for name in ("aleatoric", "epistemic"):
            given = getattr(self, name)
            value = torch.zeros_like(mean) if given is None else finite_numbers(given, name)
            check_same_shape(value, name, tuple(mean.shape), "`mean`")
            check_variances(value, name)
            object.__setattr__(self, name, value)
        if self.draws is not None:
            draws = finite_numbers(self.draws, "draws")
            parts = 2 + len(self.shape_parameters)
            check_draws(draws, (len(mean), parts * mean.shape[1], *mean.shape[2:]))
            check_variances(draws.chunk(parts, dim=2)[1], "draws")
            object.__setattr__(self, "draws", draws)

    @staticmethod
    @abstractmethod
    def _standard_cdf(z: Tensor, *shape: Tensor) -> Tensor:
        """Return the probability of at most `z`."""

    @staticmethod
    @abstractmethod
    def _standard_log_density(z: Tensor, *shape: Tensor) -> Tensor:
        """Return the log-density at `z`, nats."""

    @staticmethod
    @abstractmethod
    def _standard_quantile(q: Tensor, *shape: Tensor) -> Tensor:
        """Return the values that have the probabilities `q`, in float64, below them."""

    @property
    def variance(self) -> Float[Tensor, "N D *positions"]:
        """Total variance."""
        return self.aleatoric + self.epistemic

    @property
    def std(self) -> Float[Tensor, "N D *positions"]:  # type: ignore[override] # from the variance
        """Standard deviation."""
        return self.variance.sqrt()

    def with_epistemic(self, epistemic: Float[Tensor, "N D *positions"]) -> Self:
        """Return the prediction with that part of its variance epistemic, all else aleatoric."""
        aleatoric = (self.variance - epistemic).clamp(min=0)
        return replace(self, aleatoric=aleatoric, epistemic=epistemic)

    def parts(self) -> Parts:
        """Return both parts as standard deviations, in units of the target."""
        return Parts(self.aleatoric.sqrt(), self.epistemic.sqrt(), self.score_unit)

    def components(self) -> Sequence[Self]:
        """Return the prediction of each draw; itself alone where no draws were kept."""
        if self.draws is None:
            return [self]
        parts = self.draws.chunk(2 + len(self.shape_parameters), dim=2)
        names = ("mean", "aleatoric", *self.shape_parameters)
        return [
            type(self)(**dict(zip(names, each, strict=True))) for each in zip(*parts, strict=True)
        ]

    def affine(self, factor: Tensor, offset: Tensor) -> Self:
        """Return the prediction of `offset + factor * y`, in float64."""
        draws = self.draws
        if draws is not None:
            means, variances, *shape = draws.double().chunk(2 + len(self.shape_parameters), dim=2)
            draws = torch.cat([offset + factor * means, factor**2 * variances, *shape], dim=2)
        return replace(
            self,
            mean=offset + factor * self.mean.double(),
            aleatoric=factor**2 * self.aleatoric.double(),
            epistemic=factor**2 * self.epistemic.double(),
            draws=draws,
        )

    def pit(
        self, y: ArrayLike, generator: torch.Generator | None = None
    ) -> Float[Tensor, "N D *positions"]:
        """Return `cdf(y)` less half the step at a mean whose std is 0."""
        target, (mean, std, *shape) = self._target(y), self._members()
        below = self.member_cdf(target, mean, std, *shape)
        return (below - 0.5 * ((std == 0) & (target == mean))).mean(0)

    def crps(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        """Return the CRPS at `y` of the exact mixture, in units of the target, float64.

        Source: Grimit et al. 2006, where the family's mean distances have a closed form.
        """
        if self.distances is None:
            return NumberPrediction.crps(self, y)  # which asks for quantiles alone
        mean, std, *_ = self._members()
        return mixture_crps(mean, std, self._target(y), self.distances)

    @classmethod
    def member_cdf(cls, y: Tensor, *parameters: Tensor) -> Tensor:
        """Return the probability of at most `y`, a step at the mean where the std is 0."""
        mean, std, *shape = parameters
        smooth = cls._standard_cdf((y - mean) / std, *shape)
        return torch.where(std > 0, smooth, (y >= mean).to(smooth))

    @classmethod
    def member_log_prob(cls, y: Tensor, *parameters: Tensor) -> Tensor:
        """Return the log-density at `y`, nats, that of a point mass where the std is 0."""
        mean, std, *shape = parameters
        each = cls._standard_log_density((y - mean) / std, *shape) - std.log()
        point = torch.where(y == mean, math.inf, -math.inf).to(each)
        return torch.where(std > 0, each, point)

    @classmethod
    def member_quantile(cls, q: Tensor, *parameters: Tensor) -> Tensor:
        """Return the values that have the probabilities `q`, in float64, below them."""
        mean, std, *shape = parameters
        return mean + cls._standard_quantile(q, *shape) * std

    def _members(self) -> tuple[Tensor, ...]:
        """Return mean, std and shape parameters `(M, N, D, *positions)`; M = 1 without draws.

        In float64, as a mean may be so large beside its std that float32 has no digits left for it.
        """
        if self.draws is None:
            own = (getattr(self, name)[None].double() for name in self.shape_parameters)
            variance = self.aleatoric.double() + self.epistemic.double()
            return self.mean[None].double(), variance.sqrt()[None], *own
        mean, variance, *shape = self.draws.double().chunk(2 + len(self.shape_parameters), dim=2)
        return mean, variance.sqrt(), *shape
