"""Predictions of mixture density networks: each draw is a mixture of Gaussians."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, check_count, check_same_shape, seeded
from duda.predictions.crps import GAUSSIAN, mixture_crps
from duda.predictions.drawn import DrawnPrediction
from duda.predictions.gaussian import GaussianPrediction
from duda.predictions.members import MembersPrediction
from duda.predictions.validity import check_distributions, check_positive, finite_numbers

__all__ = ["MixturePrediction"]

_FEW = 400  # Gaussians, whose pairs cost no more than the integral


@dataclass(frozen=True, eq=False, repr=False)
class MixturePrediction(DrawnPrediction):
    """The equal mixture of M draws, each a mixture of K weighted Gaussians.

    The epistemic part of the variance is that of the draws' means; what the Gaussians of a draw
    differ in is aleatoric. Source: Bishop 1994, "Mixture density networks".

    Args:
        draws: `(M, N, 3 K D, *positions)`, of each draw D weights of the first Gaussian, then D of
            the second, ..., likewise K D means, and K D scales.
        per_draw: K.
        between: the epistemic part of the variance, where it is not that of the draws' means.
        joint: whether a draw is one function for all examples.

    >>> answer = MixturePrediction.of(
    ...     weights=[[[0.5], [0.5]]], means=[[[-3.0], [3.0]]], scales=[[[1.0], [1.0]]]
    ... )
    >>> answer.variance, answer.cdf([[0.0]])
    (tensor([[10.]], dtype=torch.float64), tensor([[0.5000]], dtype=torch.float64))
    """

    per_draw: int = field(kw_only=True)

    parameters: ClassVar[tuple[str, ...]] = ("weights", "means", "scales")

    def __post_init__(self) -> None:
        check_count(self.per_draw, "per_draw")
        super().__post_init__()
        check_distributions(self._split(self.draws)[0], "draws")

    @classmethod
    def of(cls, *, weights: ArrayLike, means: ArrayLike, scales: ArrayLike) -> Self:  # type: ignore[override] # by name
        """Return the prediction of one draw, from what its Gaussians have, `(N, K, D, *positions)`.

        Raises:
            ValueError: if shapes differ, weights do not add up to 1, or a scale is not above 0.
        """
        given = {"weights": weights, "means": means, "scales": scales}
        values = [finite_numbers(value, name) for name, value in given.items()]
        shape = tuple(values[0].shape)
        if len(shape) < 3:
            raise ValueError(f"`weights` has shape {shape}, expected (N, K, D, *positions).")
        for name, value in zip(given, values, strict=True):
            check_same_shape(value, name, shape, "`weights`")
        return cls(torch.cat([each.flatten(1, 2) for each in values], 1)[None], per_draw=shape[1])

    @property
    def said_shape(self) -> tuple[int, ...]:
        """The shape (D, *positions) of what is said of each example."""
        return self.draws.shape[2] // (3 * self.per_draw), *self.draws.shape[3:]

    @classmethod
    def check_parameters(cls, *parameters: Tensor) -> None:
        """Raise a `ValueError` unless scales are above 0."""
        check_positive(parameters[2], "scales")

    @classmethod
    def member_moments(cls, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance of each Gaussian."""
        _, mean, scale = parameters
        return mean, scale.square()

    @classmethod
    def member_cdf(cls, y: Tensor, *parameters: Tensor) -> Tensor:
        """Return the probability of at most `y`, times how much a Gaussian weighs."""
        share, *rest = parameters
        return share * GaussianPrediction.member_cdf(y, *rest)

    @classmethod
    def member_log_prob(cls, y: Tensor, *parameters: Tensor) -> Tensor:
        """Return the log-density at `y`, nats, and the logarithm of how much a Gaussian weighs."""
        share, *rest = parameters
        return share.log() + GaussianPrediction.member_log_prob(y, *rest)

    @classmethod
    def member_quantile(cls, q: Tensor, *parameters: Tensor) -> Tensor:
        """Return the values that have the probabilities `q` below them in each Gaussian."""
        return GaussianPrediction.member_quantile(q, *parameters[1:])

    def sample(self, count: int, seed: int | None = None) -> Float[Tensor, "K N D *positions"]:
        """Return `count` targets drawn for each output by itself, each from one Gaussian."""
        shares, means, scales = self._members()
        generator, size = seeded(seed), (count, *shares.shape[1:])
        ends = shares.movedim(0, -1).cumsum(-1)
        place = torch.rand(size, generator=generator, dtype=torch.float64).to(shares.device)
        inside = place.movedim(0, -1) * ends[..., -1:]
        chosen = torch.searchsorted(ends.contiguous(), inside.contiguous()).movedim(-1, 0)
        noise = torch.randn(size, generator=generator, dtype=torch.float64).to(shares.device)
        return means.gather(0, chosen) + scales.gather(0, chosen) * noise

    def crps(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        """Return the CRPS at `y` of the exact mixture, in units of the target, float64.

        In closed form unless there are many Gaussians. Source: Grimit et al. 2006, eq. 5.
        """
        shares, means, scales = self._members()
        if len(means) > _FEW:
            return MembersPrediction.crps(self, y)
        return mixture_crps(means, scales, self._target(y), GAUSSIAN, shares / len(shares))

    def affine(self, factor: Tensor, offset: Tensor) -> Self:
        """Return the prediction of `offset + factor * y`, in float64."""
        shape = (len(self), *self.said_shape)
        factor, offset = (each.expand(shape).unsqueeze(1) for each in (factor, offset))
        weights, means, scales = self._parts(self.draws.double())
        moved = torch.stack([weights, offset + factor * means, factor * scales], dim=2)
        between = self.between
        if between is not None:
            between = factor.squeeze(1).square() * between.double()
        return replace(self, draws=moved.flatten(2, 4), between=between)

    def _of_draws(self) -> tuple[Tensor, Tensor]:
        weights, means, scales = self._parts(self.draws.double())
        mean = (weights * means).sum(2)
        squares = scales.square() + (means - mean.unsqueeze(2)).square()
        return mean, (weights * squares).sum(2)

    def _parts(self, draws: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights, means and scales, `(M, N, K, D, *positions)` each.

        Weights that add up to 1 in float32 alone would move means that are large.
        """
        weights, means, scales = self._split(draws)
        return weights / weights.sum(2, keepdim=True), means, scales

    def _split(self, draws: Tensor) -> tuple[Tensor, ...]:
        each = 3, self.per_draw, draws.shape[2] // (3 * self.per_draw)
        return draws.reshape(*draws.shape[:2], *each, *draws.shape[3:]).unbind(2)

    def _told(self, draws: Tensor) -> tuple[Tensor, ...]:
        """Return of all Gaussians K times their weights, so that 1 is usual, means and scales."""
        weights, *rest = (each.movedim(2, 1).flatten(0, 1) for each in self._parts(draws))
        return self.per_draw * weights, *rest

    def _check_width(self, draws: Tensor) -> None:
        count = 3 * self.per_draw
        if draws.ndim < 3 or draws.shape[2] % count or not draws.shape[2]:
            raise ValueError(
                f"`draws` has shape {tuple(draws.shape)}, expected (M, N, {count} D, *positions): "
                f"D weights of each of {self.per_draw} Gaussians, then their means, then scales."
            )
