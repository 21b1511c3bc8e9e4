"""Multivariate Gaussian predictions: several numbers together, with all their covariances."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_count, check_same_shape, seeded
from duda.predictions.covariances import (
    Cholesky,
    LowRank,
    as_covariance,
    drawn_from,
    of_matrix,
    outputs_in,
    parts_of,
    said_width,
)
from duda.predictions.crps import GAUSSIAN, mixture_crps
from duda.predictions.drawn import DrawnPrediction
from duda.predictions.ellipsoids import Ellipsoids
from duda.predictions.gaussian import GaussianPrediction
from duda.predictions.validity import check_positive, finite_numbers

__all__ = ["MultivariateGaussianPrediction"]


@dataclass(frozen=True, eq=False, repr=False)
class MultivariateGaussianPrediction(DrawnPrediction):
    """The mixture of M multivariate Gaussians, each of which tells D numbers together.

    `std`, `cdf`, `quantile`, `interval`, `log_prob` and `crps` are those of each number by itself,
    of the exact mixture; `covariance`, `joint_log_prob`, `energy_score`, `ellipsoid` and `sample`
    are those of all D together.

    Args:
        draws: `(M, N, K, *positions)`: D means, D scales, then D (D - 1) / 2 slopes, or `rank` D
            loadings, as a `MultivariateGaussian` has them.
        rank: how many numbers all have in common; None for any covariance.
        between: the epistemic part of the variances, where it is not that of the draws' means.
        joint: whether a draw is one function for all examples.

    >>> answer = MultivariateGaussianPrediction.of(mean=[[0, 0]], covariance=[[[4, 1], [1, 2]]])
    >>> answer.std, answer.joint_log_prob([[0.0, 0.0]])
    (tensor([[2.0000, 1.4142]], dtype=torch.float64), tensor([-2.8108], dtype=torch.float64))
    """

    rank: int | None = field(default=None, kw_only=True)

    derived: ClassVar[tuple[str, ...]] = (*DrawnPrediction.derived, "covariance")
    parameters: ClassVar[tuple[str, ...]] = ("mean", "std")  # of each number by itself

    member_cdf = GaussianPrediction.member_cdf
    member_log_prob = GaussianPrediction.member_log_prob
    member_quantile = GaussianPrediction.member_quantile

    @classmethod
    def of(cls, *, mean: ArrayLike, covariance: ArrayLike) -> Self:  # type: ignore[override] # by name
        """Return the prediction of one draw, from its mean `(N, D)` and covariance `(N, D, D)`.

        Positions come last in both.

        Raises:
            ValueError: if shapes differ, or a covariance has no Cholesky factor.
        """
        center, matrix = finite_numbers(mean, "mean"), as_tensor(covariance, "covariance")
        if center.ndim < 2:
            shape = tuple(center.shape)
            raise ValueError(f"`mean` has shape {shape}, expected (N, D, *positions).")
        rows, count, *places = center.shape
        check_same_shape(matrix, "covariance", (rows, count, count, *places), "`mean`")
        scale, slopes = of_matrix(matrix.to(center).movedim((1, 2), (-2, -1)))
        return cls(torch.cat([center, scale.movedim(-1, 1), slopes.movedim(-1, 1)], dim=1)[None])

    @classmethod
    def member_moments(cls, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance of each number."""
        mean, std = parameters
        return mean, std.square()

    @classmethod
    def check_parameters(cls, *parameters: Tensor) -> None:
        """Raise a `ValueError` unless scales are above 0."""
        check_positive(parameters[1], "scale")

    @property
    def said_shape(self) -> tuple[int, ...]:
        """The shape (D, *positions) of what is said of each example."""
        return outputs_in(self.draws.shape[2], self.rank), *self.draws.shape[3:]

    @property
    def covariance(self) -> Float[Tensor, "N D D *positions"]:
        """Covariance of the mixture: the mean of the covariances, plus that of the means."""
        return self._as_drawn(self._aleatoric_matrix() + self._epistemic_matrix())

    @property
    def aleatoric_covariance(self) -> Float[Tensor, "N D D *positions"]:
        """Mean over draws of their covariances."""
        self._check_split()
        return self._as_drawn(self._aleatoric_matrix())

    @property
    def epistemic_covariance(self) -> Float[Tensor, "N D D *positions"]:
        """Covariance over draws of their means."""
        self._check_split()
        return self._as_drawn(self._epistemic_matrix())

    @property
    def expected_entropy(self) -> Float[Tensor, "N *positions"]:
        """Mean over draws of the differential entropy of all D together, in nats, float64.

        Of a single draw it is the prediction's own; that of a mixture has no closed form.
        """
        mean, covariance = self._told_together
        return (covariance.log_det() / 2 + mean.shape[-1] * (1 + math.log(2 * math.pi)) / 2).mean(0)

    def joint_log_prob(self, y: ArrayLike) -> Float[Tensor, "N *positions"]:
        """Return the log-density of all D numbers of an example together, nats, float64."""
        mean, covariance = self._told_together
        gap = self._target(y).movedim(1, -1) - mean
        constant = math.log(len(mean)) + gap.shape[-1] / 2 * math.log(2 * math.pi)
        return (-(covariance.squared(gap) + covariance.log_det()) / 2).logsumexp(0) - constant

    def ellipsoid(self, level: float = 0.95) -> Ellipsoids:
        """Return the ellipsoid that holds all D numbers together with probability `level`.

        It is that of the Gaussian with the mixture's mean and covariance.

        Raises:
            ValueError: unless 0 < `level` < 1.
        """
        from scipy.special import chdtri

        if not 0 < level < 1:
            raise ValueError(f"`level` is {level}, expected a probability between 0 and 1.")
        matrix = self._aleatoric_matrix() + self._epistemic_matrix()
        values, vectors = torch.linalg.eigh(matrix.movedim((1, 2), (-2, -1)))
        reach = math.sqrt(chdtri(values.shape[-1], 1 - level))
        axes = vectors * (reach * values.clamp(min=0).sqrt()).unsqueeze(-2)
        return Ellipsoids(self._moments[0], axes.movedim((-2, -1), (1, 2)), level)

    def energy_score(
        self, y: ArrayLike, samples: int = 1000, seed: int = 0
    ) -> Float[Tensor, "N *positions"]:
        """Return the energy score E|X - y| - E|X - X'| / 2, in units of the target, float64.

        It is the CRPS of several numbers together, by draws. Source: Gneiting & Raftery 2007,
        eq. 22.
        """
        target, drawn = self._target(y), check_count(samples, "samples", least=2)
        total = pairs = torch.zeros(())
        before = None
        for sample in self._sampled(drawn, seed):
            total = total + torch.linalg.vector_norm(sample - target, dim=1)
            if before is not None:
                pairs = pairs + torch.linalg.vector_norm(sample - before, dim=1)
            before = sample
        return total / drawn - pairs / (2 * (drawn - 1))

    def sample(self, count: int, seed: int | None = None) -> Float[Tensor, "K N D *positions"]:
        """Return `count` targets, of which all D numbers are drawn together."""
        return torch.stack([*self._sampled(check_count(count, "count"), seed)])

    def crps(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        """Return the CRPS of each number at `y`, in units of the target, float64."""
        mean, std = self._members()
        return mixture_crps(mean, std, self._target(y), GAUSSIAN)

    def affine(self, factor: Tensor, offset: Tensor) -> Self:
        """Return the prediction of `offset + factor * y`, in float64."""
        mean, scale, rest = self._told(self.draws.double())
        factor = factor.expand(mean.shape[1:])
        if self.rank is None:  # loadings are in units of the scales anyway
            rows, columns = torch.tril_indices(factor.shape[1], factor.shape[1], -1)
            rest = rest * (factor[:, rows] / factor[:, columns])
        draws = torch.cat([offset + factor * mean, factor * scale, rest], dim=2)
        between = None if self.between is None else factor**2 * self.between.double()
        return replace(self, draws=draws, between=between)

    def _check_width(self, draws: Tensor) -> None:
        if self.rank is not None:
            check_count(self.rank, "rank")
        if draws.ndim < 3 or not outputs_in(draws.shape[2], self.rank):
            raise ValueError(
                f"`draws` has shape {tuple(draws.shape)}, expected (M, N, K, *positions) with "
                f"K = {said_width(self.rank)}."
            )

    def _told(self, draws: Tensor) -> tuple[Tensor, ...]:
        return parts_of(draws, self.rank, dim=2)

    @cached_property
    def _told_together(self) -> tuple[Tensor, Cholesky | LowRank]:
        """The means `(M, N, *positions, D)` and covariances of all draws, in float64."""
        mean, scale, rest = (each.movedim(2, -1) for each in self._told(self.draws.double()))
        return mean, as_covariance(scale, rest, self.rank)

    @cached_property
    def _marginals(self) -> tuple[Tensor, ...]:
        mean, covariance = self._told_together
        return mean.movedim(-1, 2), covariance.variances().sqrt().movedim(-1, 2)

    def _members(self) -> tuple[Tensor, ...]:
        return self._marginals

    def _aleatoric_matrix(self) -> Tensor:
        return self._told_together[1].matrix().mean(0).movedim((-2, -1), (1, 2))

    def _epistemic_matrix(self) -> Tensor:
        mean = self._marginals[0]
        gaps = mean - mean.mean(0)
        return torch.einsum("mni...,mnj...->nij...", gaps, gaps) / len(mean)

    def _as_drawn(self, values: Tensor) -> Tensor:
        return values.to(self.draws.dtype)

    def _check_split(self) -> None:
        if self.between is not None:
            raise TypeError(
                "the epistemic part is known of the variances alone, not of their covariances: "
                "take `covariance` for both parts, or `aleatoric` and `epistemic`."
            )

    def _sampled(self, count: int, seed: int | None) -> Iterator[Tensor]:
        """Yield targets `(N, D, *positions)`, each from one of the members."""
        for found in drawn_from(*self._told_together, count, seeded(seed)):
            yield found.movedim(-1, 1)
