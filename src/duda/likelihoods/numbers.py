"""Likelihoods of numbers, what they share: where targets and outputs lie, and in which units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Self, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from duda.checks import check_finite, check_not_empty, check_same_shape
from duda.likelihoods.base import Likelihood
from duda.likelihoods.missing import checked_missing, marked_missing
from duda.likelihoods.outputs import check_dim, one_column, outputs_first
from duda.likelihoods.support import Support, check_support
from duda.likelihoods.target_scale import TargetScale
from duda.predictions import NumberPrediction, Prediction

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
        missing: the number that stands for targets that nobody knows, such as the 0 of a depth map,
            or "nan"; they add nothing. Of several outputs some may be known. Metrics and decisions
            leave them out by their `mask`.
        target_scale: the units of the outputs, which `duda.fit` finds; by default the target's.

    Attributes:
        support: which numbers can be targets.
        has_units: whether these have units, as counts and shares have not.
    """

    support: ClassVar[Support] = "numbers"
    has_units: ClassVar[bool] = True

    output_dim: int | None = field(default=None, kw_only=True)
    missing: float | Literal["nan"] | None = field(default=None, kw_only=True)
    target_scale: TargetScale | None = field(default=None, repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        check_dim(self.output_dim, "output_dim")
        object.__setattr__(self, "missing", checked_missing(self.missing))
        if not isinstance(self.target_scale, TargetScale | None):
            raise TypeError(
                f"`target_scale` is a {type(self.target_scale).__name__}, expected a "
                "`duda.TargetScale`, or None for the units of the target."
            )
        if not self.has_units:
            super().with_target_scale(self.target_scale)

    @property
    def takes_scale(self) -> bool:
        """Whether outputs may be in units of their own."""
        return self.has_units

    def with_target_scale(self, scale: TargetScale | None) -> Self:
        """Return the likelihood of outputs in other units."""
        return replace(self, target_scale=scale)

    def placed(self, y: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return targets with the outputs first, NaN where missing; a single one may be `(N,)`."""
        marked = marked_missing(y, self.missing)
        return one_column(outputs_first(marked, self.output_dim), shape)

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
        y = (y if self.target_scale is None else self.target_scale.in_units(y)).to(mean.dtype)
        # So that the loss there, which does not count, is finite, and its gradient, too.
        inside = 0.5 if self.support == "shares" else mean.detach()
        return y if self.missing is None else y.where(~y.isnan(), inside)

    def check_beside(self, y: Tensor, mean: Tensor, name: str) -> None:
        """Raise a `ValueError` unless there are finite targets for what is predicted."""
        check_not_empty(mean, "y")
        placed = self.placed(y, tuple(mean.shape))
        check_same_shape(placed, "y", tuple(mean.shape), name)
        if self.missing is not None and self.missing != "nan":
            check_finite(y, "y", "give `missing='nan'` if these are missing")
        if self.support != "numbers":
            placed = self.filled(placed)
            check_finite(placed, "y")
            check_support(placed, self.support)
        check_finite(self.beside(y, mean if self.missing is None else torch.zeros_like(mean)), "y")

    def filled(self, placed: Tensor) -> Tensor:
        """Return targets with some that can be where they are missing."""
        if self.missing is None:
            return placed
        return placed.where(~placed.isnan(), 0.0 if self.support == "counts" else 0.5)

    def counted(self, y: Tensor) -> Bool[Tensor, "N *positions"] | None:
        """Return which examples, times positions, have a number that is known; None for all."""
        if self.missing is None:
            return None
        known = ~outputs_first(marked_missing(y, self.missing), self.output_dim).isnan()
        return known if known.ndim == 1 else known.any(1)

    def numbers_in(self, y: Tensor) -> int | Int[Tensor, ""]:
        """Return how many numbers are known."""
        if self.missing is None:
            return y.numel()
        return (~marked_missing(y, self.missing).isnan()).sum()

    def averaged(
        self, each: Float[Tensor, "N D *positions"], y: Tensor, *, in_units: bool = True
    ) -> Float[Tensor, ""]:
        """Return the mean over `terms` of what known numbers cost, summed over the outputs.

        Args:
            each: what each costs, -log p in the outputs' units.
            y: the targets, as they came.
            in_units: whether the mean is to be of -log p in the target's.
        """
        if self.missing is None:
            return each.sum(1).mean() + (self.log_unit() if in_units else 0)
        if in_units and self.target_scale is not None:
            each = each + self.target_scale.beside(each)[0].log()
        known = ~self.placed(y, tuple(each.shape)).isnan()
        return each.where(known, 0).sum() / known.any(1).sum().clamp(min=1)

    def prediction_loss(self, prediction: Prediction, y: Tensor) -> Float[Tensor, ""]:
        """Return the mean over `terms` of -log p(y) by a prediction, nats, unchecked."""
        if self.missing is None:
            return super().prediction_loss(prediction, y)
        target = self.filled(self.placed(y, (len(y), *prediction.said_shape)))
        if prediction.can("log_prob"):
            return self.averaged(-prediction.log_prob(target), y, in_units=False)  # type: ignore[attr-defined]
        return self.averaged(prediction.loss(target), y, in_units=False)

    def scale_of(self, batches: Iterator[Tensor]) -> TargetScale:
        """Return units for the outputs, from batches of targets, which are read once.

        They are those of what the outputs tell of a target, where it is known.
        """

        def learned() -> Iterator[Tensor]:
            for y in batches:
                marked = marked_missing(y, self.missing)
                check_finite(self.filled(marked), "y", held=y.nbytes)
                check_support(self.filled(marked), self.support)
                yield self.learned(marked.double())

        return TargetScale.of(learned(), self.output_dim, missing=self.missing is not None)

    def in_target_units(self, prediction: Numbers) -> Numbers:
        """Return a prediction of the outputs as one of the targets."""
        if self.target_scale is None:
            return prediction
        factor, offset = self.target_scale.beside(prediction.centre)
        return prediction.affine(factor, offset)  # type: ignore[return-value] # of its own family

    def log_unit(self) -> Tensor | float:
        """Return by how much -log p of a target is more than in the outputs' units, nats."""
        return 0.0 if self.target_scale is None else self.target_scale.std.log().sum()
