"""Mixtures of members of one law: their distribution function, quantiles, density, draws, CRPS."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, seeded
from duda.predictions.crps import Law, integrated_crps
from duda.predictions.mixture import crossing
from duda.predictions.numbers import NumberPrediction

__all__ = ["MembersPrediction"]


class MembersPrediction(NumberPrediction):
    """A mixture of members, each of the same law with parameters of its own.

    A family tells the law by functions of a member's parameters, all in float64, and the members
    by `_members`; cdf, density, quantiles, draws and CRPS are those of the exact mixture.
    """

    @abstractmethod
    def _members(self) -> tuple[Tensor, ...]:
        """Return the parameters of all members, each `(M, N, D, *positions)`, in float64."""

    @classmethod
    @abstractmethod
    def member_cdf(cls, y: Tensor, *parameters: Tensor) -> Tensor:
        """Return the probability of at most `y`."""

    @classmethod
    @abstractmethod
    def member_log_prob(cls, y: Tensor, *parameters: Tensor) -> Tensor:
        """Return the log-density at `y`, nats, through which gradients flow."""

    @classmethod
    @abstractmethod
    def member_quantile(cls, q: Tensor, *parameters: Tensor) -> Tensor:
        """Return the values that have the probabilities `q` below them."""

    def quantile(self, q: float) -> Float[Tensor, "N D *positions"]:
        """Return the value below which the target lies with probability `q`.

        Raises:
            ValueError: unless 0 < `q` < 1.
        """
        if not 0 < q < 1:
            raise ValueError(f"`q` is {q}, expected a probability between 0 and 1.")
        return self._quantile(q, self._members())

    def cdf(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        """Return the probability that the target is at most `y`, of the centre's shape."""
        return self._cdf_of(self._members())(self._target(y))

    def log_prob(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        """Return the log-density at `y`, of the centre's shape, for each output; nats."""
        each = self.member_log_prob(self._target(y), *self._members())
        return each.logsumexp(0) - math.log(len(each))

    def sample(self, count: int, seed: int | None = None) -> Float[Tensor, "K N D *positions"]:
        """Return `count` targets drawn for each output by itself, each from one of the members."""
        members = self._members()
        generator = seeded(seed)
        size = (count, *members[0].shape[1:])
        member = torch.randint(len(members[0]), size, generator=generator).to(members[0].device)
        picked = [each.gather(0, member) for each in members]
        uniform = torch.rand(size, generator=generator, dtype=torch.float64).to(member.device)
        return self.member_quantile(uniform.clamp(min=torch.finfo().tiny), *picked)

    def crps(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        """Return the CRPS at `y` of the exact mixture, in units of the target, float64."""
        law = Law(self.member_cdf, self.member_quantile)
        return integrated_crps(law, self._members(), self._target(y))

    def _quantile(self, q: float, members: tuple[Tensor, ...]) -> Tensor:
        """Return where the mixture's distribution function reaches `q`."""
        ends = self.member_quantile(members[0].new_full((), q), *members)
        return ends[0] if len(ends) == 1 else crossing(self._cdf_of(members), q, ends)

    def _cdf_of(self, members: tuple[Tensor, ...]) -> Callable[[Tensor], Tensor]:
        return lambda y: self.member_cdf(y, *members).mean(0)
