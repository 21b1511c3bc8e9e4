"""What recalibration and conformal prediction of numbers take: predictions, or means and stds."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, check_not_empty, check_same_shape
from duda.inputs import numbers
from duda.predictions import GaussianPrediction, LocationScalePrediction

__all__ = ["NumberClaims", "check_above_zero", "in_float64", "moments", "targets"]

NumberClaims = LocationScalePrediction | ArrayLike  # what may come as `mean`


def targets(y: ArrayLike | None, shape: tuple[int, ...]) -> Float[Tensor, "*shape"]:
    """Return what came true, of the shape of the predicted numbers."""
    if y is None:
        raise TypeError("`y` is missing: give the targets to compare with.")
    values = numbers(y, "y")
    check_same_shape(values, "y", shape, "the predicted numbers")
    return values


def check_above_zero(std: Tensor) -> None:
    """Raise a `ValueError` unless all standard deviations are above 0."""
    wrong = int((std <= 0).sum())
    if wrong:
        raise ValueError(
            f"`std` has {wrong} of {std.numel()} values at 0 or below, the lowest "
            f"{float(std.min()):.4g}, expected numbers above 0."
        )


def moments(
    mean: NumberClaims, std: ArrayLike | None
) -> tuple[LocationScalePrediction, tuple[int, ...]]:
    """Return a prediction, with one output for means `(N)`, and the shape that targets have.

    Raises:
        TypeError: if `std` is missing, or comes twice.
        ValueError: if shapes differ, or a standard deviation is below 0.
    """
    if isinstance(mean, LocationScalePrediction):
        if std is not None:
            raise TypeError(f"`std` comes with the {type(mean).__name__} already: leave it out.")
        check_not_empty(mean.mean, "mean")
        return mean, tuple(mean.mean.shape)
    if std is None:
        raise TypeError(
            f"`std` is missing beside a {type(mean).__name__}, expected one for each mean, or a "
            "GaussianPrediction in place of both."
        )
    centre, spread = numbers(mean, "mean"), numbers(std, "std")
    shape = tuple(np.shape(centre))
    check_same_shape(spread, "std", shape, "`mean`")
    if bool((spread < 0).any()):
        check_above_zero(spread)
    if len(shape) == 1:
        centre, spread = centre.unsqueeze(1), spread.unsqueeze(1)
    return GaussianPrediction(centre, spread.square()), shape


def in_float64(prediction: LocationScalePrediction) -> LocationScalePrediction:
    """Return the prediction with all digits that a fit can use, on the CPU."""
    return prediction.to("cpu", torch.float64)
