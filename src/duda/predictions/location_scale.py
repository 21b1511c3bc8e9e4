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

from duda.checks import ArrayLike, check_same_shape, seeded
from duda.predictions.crps import Distances, mixture_crps
from duda.predictions.mixture import crossing
from duda.predictions.numbers import NumberPrediction
from duda.predictions.terms import Parts
from duda.predictions.validity import check_draws, check_variances, finite_numbers

__all__ = ["LocationScalePrediction"]


@dataclass(frozen=True, eq=False, repr=False)
class LocationScalePrediction(NumberPrediction):
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

    def quantile(self, q: float) -> Float[Tensor, "N D *positions"]:
        """Return the value below which the target lies with probability `q`.

        Raises:
            ValueError: unless 0 < `q` < 1.
        """
        if not 0 < q < 1:
            raise ValueError(f"`q` is {q}, expected a probability between 0 and 1.")
        mean, std, *shape = self._parameters()
        level = mean.new_full((), q)
        z = self._standard_quantile(level, *shape)
        if self.draws is None:
            return (mean + z * std)[0]

        def below(value: Tensor) -> Tensor:
            return self._cdf(value, mean, std, *shape).mean(0)

        return crossing(below, q, mean + z * std)

    def cdf(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        """Return the probability that the target is at most `y`, of `mean`'s shape."""
        return self._cdf(self._target(y), *self._parameters()).mean(0)

    def mid_cdf(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        """Return `cdf(y)` less half the step at a mean whose std is 0."""
        target, (mean, std, *shape) = self._target(y), self._parameters()
        below = self._cdf(target, mean, std, *shape)
        return (below - 0.5 * ((std == 0) & (target == mean))).mean(0)

    def log_prob(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        """Return the log-density at `y`, of `mean`'s shape, for each output; nats."""
        mean, std, *shape = self._parameters()
        target = self._target(y)
        each = self._standard_log_density((target - mean) / std, *shape) - std.log()
        point = torch.where(target == mean, math.inf, -math.inf).to(each)
        each = torch.where(std > 0, each, point)  # a point mass where the std is 0
        return each.logsumexp(0) - math.log(len(mean))

    def sample(self, count: int, seed: int | None = None) -> Float[Tensor, "K N D *positions"]:
        """Return `count` targets drawn for each output by itself, each from one of the members."""
        mean, std, *shape = self._parameters()
        generator = seeded(seed)
        size = (count, *mean.shape[1:])
        member = torch.randint(len(mean), size, generator=generator).to(mean.device)
        picked = [each.gather(0, member) for each in (mean, std, *shape)]
        uniform = torch.rand(size, generator=generator, dtype=torch.float64).to(mean.device)
        z = self._standard_quantile(uniform.clamp(min=torch.finfo().tiny), *picked[2:])
        return picked[0] + z * picked[1]

    def crps(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        """Return the CRPS at `y` of the exact mixture, in units of the target, float64.

        Source: Grimit et al. 2006, where the family's mean distances have a closed form.
        """
        if self.distances is None:
            return super().crps(y)
        mean, std, *_ = self._parameters()
        return mixture_crps(mean, std, self._target(y), self.distances)

    def _cdf(self, y: Tensor, mean: Tensor, std: Tensor, *shape: Tensor) -> Tensor:
        """Return the probability of at most `y`, a step at `mean` where `std` is 0."""
        smooth = self._standard_cdf((y - mean) / std, *shape)
        return torch.where(std > 0, smooth, (y >= mean).to(smooth))

    def _parameters(self) -> tuple[Tensor, ...]:
        """Return mean, std and shape parameters `(M, N, D, *positions)`; M = 1 without draws.

        In float64, as a mean may be so large beside its std that float32 has no digits left for it.
        """
        if self.draws is None:
            own = (getattr(self, name)[None].double() for name in self.shape_parameters)
            variance = self.aleatoric.double() + self.epistemic.double()
            return self.mean[None].double(), variance.sqrt()[None], *own
        mean, variance, *shape = self.draws.double().chunk(2 + len(self.shape_parameters), dim=2)
        return mean, variance.sqrt(), *shape
