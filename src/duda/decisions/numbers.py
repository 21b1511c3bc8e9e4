"""Targets and standard deviations: what fits to numbers ask of them."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, check_finite, check_same_shape
from duda.inputs import numbers
from duda.predictions import NumberPrediction

__all__ = ["check_spread", "targets"]


def targets(y: ArrayLike | None, shape: tuple[int, ...]) -> Float[Tensor, "*shape"]:
    """Return what came true, of the shape of the predicted numbers."""
    if y is None:
        raise TypeError("`y` is missing: give the targets to compare with.")
    values = numbers(y, "y")
    check_same_shape(values, "y", shape, "the predicted numbers")
    return values


def check_spread(prediction: NumberPrediction) -> None:
    """Raise a `ValueError` unless all standard deviations, if there are any, are above 0."""
    if not prediction.can("std"):
        return
    std = prediction.std
    check_finite(std, "std")
    wrong = int((std <= 0).sum())
    if wrong:
        raise ValueError(
            f"`std` has {wrong} of {std.numel()} values at 0 or below, the lowest "
            f"{float(std.min()):.4g}, expected numbers above 0."
        )
