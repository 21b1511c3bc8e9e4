"""Targets and standard deviations: what fits to numbers ask of them."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_finite, check_same_shape
from duda.inputs import numbers, which_count
from duda.predictions import NumberPrediction

__all__ = ["by_output", "check_spread", "targets"]


def targets(
    y: ArrayLike | None,
    shape: tuple[int, ...],
    mask: ArrayLike | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Float[Tensor, "*shape"], Bool[Tensor, "*shape"]]:
    """Return what came true, in shape and place of the predicted numbers, and which of it counts.

    Zeros stand in for what does not, whatever it was.
    """
    if y is None:
        raise TypeError("`y` is missing: give the targets to compare with.")
    values = as_tensor(y, "y").to(device)
    kept = which_count(mask, values, "`y`")
    values = numbers(values if mask is None else torch.where(kept, values, 0), "y")
    check_same_shape(values, "y", shape, "the predicted numbers")
    return values, kept


def by_output(
    values: Float[Tensor, "N D *positions"], kept: Bool[Tensor, "N D *positions"]
) -> list[Float[Tensor, "K"]]:
    """Return the values that count of each output by itself.

    Raises:
        ValueError: if there are none of one.
    """
    columns = [values[:, output][kept[:, output]] for output in range(values.shape[1])]
    for output, column in enumerate(columns):
        if not len(column):
            raise ValueError(
                f"`mask` leaves no target of output {output}, expected some of each: fit without "
                "that output."
            )
    return columns


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
