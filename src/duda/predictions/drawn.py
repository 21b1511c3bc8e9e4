"""Predictions by the parameters of their draws: each draw is a law, and the answer their mixture.

Where the moments of draws do not tell their mixture, as of skewed laws and of counts, the draws
themselves are kept: such a prediction grows with their number, by a few parameters for each.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, check_same_shape
from duda.predictions.members import MembersPrediction
from duda.predictions.numbers import NumberPrediction
from duda.predictions.terms import Bands, Parts
from duda.predictions.validity import check_draws, check_variances, finite_numbers

__all__ = ["DrawnPrediction"]

_SHARES = (0.997, 0.95, 0.68)  # of bands, the widest below


@dataclass(frozen=True, eq=False, repr=False)
class DrawnPrediction(MembersPrediction):
    """The equal mixture of M draws of one law, told by their parameters.

    A family names them in `parameters`, and gives the law by functions of these in float64:
    `member_cdf`, `member_log_prob`, `member_quantile`, `member_moments`, and `check_parameters`.

    Args:
        draws: `(M, N, K D, *positions)`, of each draw D values of the first of K parameters, then
            D of the second, ...
        between: the epistemic part of the variance, where it is not the variance of the draws'
            means.
        joint: whether a draw is one function for all examples.
    """

    draws: Float[Tensor, "M N K*D *positions"]
    between: Float[Tensor, "N D *positions"] | None = field(default=None, kw_only=True)
    joint: bool = field(default=False, kw_only=True)

    derived: ClassVar[tuple[str, ...]] = ("mean", "aleatoric", "epistemic", "std", "score")
    parameters: ClassVar[tuple[str, ...]]

    def __post_init__(self) -> None:
        draws = finite_numbers(self.draws, "draws")
        self._check_width(draws)
        check_draws(draws, tuple(draws.shape[1:]))
        object.__setattr__(self, "draws", draws)
        self.check_parameters(*self._told(draws))
        if self.between is not None:
            between = finite_numbers(self.between, "between")
            check_same_shape(between, "between", (len(self), *self.said_shape), "the predictions")
            check_variances(between, "between", remedy="")
            object.__setattr__(self, "between", between)

    @classmethod
    def of(cls, **parameters: ArrayLike) -> Self:
        """Return the prediction of one draw, from parameters `(N, D, *positions)` by name.

        Raises:
            TypeError: if there are others than those of the law.
            ValueError: if shapes differ, or there is no such law.
        """
        if set(parameters) != set(cls.parameters):
            raise TypeError(
                f"the parameters are {', '.join(parameters) or 'missing'}, expected "
                f"{', '.join(cls.parameters)}."
            )
        values = [finite_numbers(parameters[name], name) for name in cls.parameters]
        shape = tuple(values[0].shape)
        for name, value in zip(cls.parameters, values, strict=True):
            if value.ndim < 2:
                raise ValueError(
                    f"`{name}` has shape {tuple(value.shape)}, expected (N, D, *positions)."
                )
            check_same_shape(value, name, shape, f"`{cls.parameters[0]}`")
        return cls(torch.cat(values, dim=1)[None])

    @classmethod
    @abstractmethod
    def member_moments(cls, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance; infinite where they are."""

    @classmethod
    @abstractmethod
    def check_parameters(cls, *parameters: Tensor) -> None:
        """Raise a `ValueError` if there is no law with these."""

    @property
    def said_shape(self) -> tuple[int, ...]:
        """The shape (D, *positions) of what is said of each example."""
        return self.draws.shape[2] // len(self.parameters), *self.draws.shape[3:]

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, aleatoric and epistemic variance, by the law of total variance, in float64."""
        means, variances = self._of_draws()
        mean = means.mean(0)
        gaps = torch.where(means == mean, 0.0, means - mean)  # where both are infinite, too
        epistemic = gaps.square().mean(0)
        aleatoric = variances.mean(0)
        if self.between is not None:
            between = self.between.double()
            aleatoric, epistemic = (aleatoric + epistemic - between).clamp(min=0), between
        return mean, aleatoric, epistemic

    @property
    def mean(self) -> Float[Tensor, "N D *positions"]:  # type: ignore[override] # follows from the draws
        """Mean of the mixture, in units of the target."""
        return self._moments[0].to(self.draws.dtype)

    @property
    def aleatoric(self) -> Float[Tensor, "N D *positions"]:
        """Mean over draws of their variances."""
        return self._moments[1].to(self.draws.dtype)

    @property
    def epistemic(self) -> Float[Tensor, "N D *positions"]:
        """Variance over draws of their means."""
        return self._moments[2].to(self.draws.dtype)

    @property
    def variance(self) -> Float[Tensor, "N D *positions"]:
        """Total variance."""
        return (self._moments[1] + self._moments[2]).to(self.draws.dtype)

    @property
    def std(self) -> Float[Tensor, "N D *positions"]:  # type: ignore[override] # from the variance
        """Standard deviation."""
        return (self._moments[1] + self._moments[2]).sqrt().to(self.draws.dtype)

    def with_epistemic(self, epistemic: Float[Tensor, "N D *positions"]) -> Self:
        """Return the prediction with that part of its variance epistemic, all else aleatoric."""
        return replace(self, between=epistemic)._with_drawn(self.drawn)

    def parts(self) -> Parts:
        """Return both parts as standard deviations, in units of the target."""
        _, aleatoric, epistemic = self._moments
        dtype = self.draws.dtype
        return Parts(aleatoric.sqrt().to(dtype), epistemic.sqrt().to(dtype), self.score_unit)

    def components(self) -> Sequence[Self]:
        """Return the prediction of each draw."""
        return [replace(self, draws=each[None], between=None) for each in self.draws]

    def affine(self, factor: Tensor, offset: Tensor) -> NumberPrediction:
        """Return that of `offset + factor * y`, in float64, as one of the family if it can be."""
        moved = self.member_affine(factor, offset, *self._told(self.draws.double()))
        if moved is None:
            return super().affine(factor, offset)
        between = None if self.between is None else factor**2 * self.between.double()
        return replace(self, draws=torch.cat(tuple(moved), dim=2), between=between)

    @classmethod
    def member_affine(
        cls, factor: Tensor, offset: Tensor, *parameters: Tensor
    ) -> Sequence[Tensor] | None:
        """Return the parameters of `offset + factor * y`, None where it is no such law."""
        return None

    def bands(self) -> Bands:
        """Return what to draw about a curve: central intervals."""
        ends = [self.interval(share) for share in _SHARES]
        return Bands("mean", "should hold 68, 95 and 99.7 % of the true values", ends)

    def _check_width(self, draws: Tensor) -> None:
        count = len(self.parameters)
        if draws.ndim < 3 or draws.shape[2] % count or not draws.shape[2]:
            raise ValueError(
                f"`draws` has shape {tuple(draws.shape)}, expected (M, N, {count} D, *positions): "
                f"D each of {', '.join(self.parameters)}."
            )

    def _told(self, draws: Tensor) -> tuple[Tensor, ...]:
        """Return what the draws tell, one parameter after the other."""
        return draws.chunk(len(self.parameters), dim=2)

    def _of_draws(self) -> tuple[Tensor, Tensor]:
        """Return mean and variance of each draw, in float64."""
        return self.member_moments(*self._members())

    def _members(self) -> tuple[Tensor, ...]:
        return self._told(self.draws.double())
