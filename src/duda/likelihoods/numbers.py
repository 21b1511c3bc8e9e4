"""Likelihoods of numbers, what they share: where targets and outputs lie, and in which units."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar, Self, TypeVar

from torch import Tensor

from duda.checks import check_finite, check_not_empty, check_same_shape
from duda.likelihoods.base import Likelihood
from duda.likelihoods.outputs import check_dim, one_column, outputs_first
from duda.likelihoods.support import Support, check_support
from duda.likelihoods.target_scale import TargetScale
from duda.predictions import NumberPrediction

__all__ = ["NumberLikelihood"]

Numbers = TypeVar("Numbers", bound=NumberPrediction)


@dataclass(frozen=True)
class NumberLikelihood(Likelihood):
    """A likelihood of numbers, of which a network's outputs may be in units of their own.

    Losses and predictions are told in units of the target. `beside` takes targets into those of
    the outputs, and `in_target_units` predictions out of them.

    Args:
        output_dim: -1 where the network puts out `(N, *positions, outputs)`; targets lie as these
            do. Predictions have their outputs on dimension 1 anyway.
        target_scale: the units of the outputs, which `duda.fit` finds; by default the target's.

    Attributes:
        support: which numbers can be targets.
    """

    support: ClassVar[Support] = "numbers"

    output_dim: int | None = field(default=None, kw_only=True)
    target_scale: TargetScale | None = field(default=None, repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        check_dim(self.output_dim, "output_dim")
        if not isinstance(self.target_scale, TargetScale | None):
            raise TypeError(
                f"`target_scale` is a {type(self.target_scale).__name__}, expected a "
                "`duda.TargetScale`, or None for the units of the target."
            )

    @property
    def takes_scale(self) -> bool:
        """Whether outputs may be in units of their own."""
        return True

    def with_target_scale(self, scale: TargetScale | None) -> Self:
        """Return the likelihood of outputs in other units."""
        return replace(self, target_scale=scale)

    def placed(self, y: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return targets with the outputs first; of a single one they may have the shape (N,)."""
        return one_column(outputs_first(y, self.output_dim), shape)

    def learned(self, y: Tensor) -> Tensor:
        """Return of each target what the outputs tell in units of their own: the target itself."""
        return y

    def beside(self, y: Tensor, mean: Tensor) -> Tensor:
        """Return targets in the place and the units of the mean.

        >>> import torch
        >>> from duda import Gaussian
        >>> Gaussian().beside(torch.zeros(5), torch.zeros(5, 1)).shape
        torch.Size([5, 1])
        """
        y = self.learned(self.placed(y, tuple(mean.shape)))
        return (y if self.target_scale is None else self.target_scale.in_units(y)).to(mean.dtype)

    def check_beside(self, y: Tensor, mean: Tensor, name: str) -> None:
        """Raise a `ValueError` unless there are finite targets for what is predicted."""
        check_not_empty(mean, "y")
        placed = self.placed(y, tuple(mean.shape))
        check_same_shape(placed, "y", tuple(mean.shape), name)
        if self.support != "numbers":
            check_finite(placed, "y")
            check_support(placed, self.support)
        check_finite(self.beside(y, mean), "y")

    def in_target_units(self, prediction: Numbers) -> Numbers:
        """Return a prediction of the outputs as one of the targets."""
        if self.target_scale is None:
            return prediction
        factor, offset = self.target_scale.beside(prediction.centre)
        return prediction.affine(factor, offset)  # type: ignore[return-value] # of its own family

    def log_unit(self) -> Tensor | float:
        """Return by how much -log p of a target is more than in the outputs' units, nats."""
        return 0.0 if self.target_scale is None else self.target_scale.std.log().sum()
