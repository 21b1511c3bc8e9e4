"""The intervals before calibration, from predictions or arrays."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike
from duda.decisions.numbers import check_above_zero, in_float64, moments
from duda.inputs import numbers, ordered_ends
from duda.predictions import LocationScalePrediction, QuantilePrediction

__all__ = ["Guess", "NumberScore", "Numbers", "guessed"]

NumberScore = Literal["absolute", "normalized", "cqr"]
Numbers = LocationScalePrediction | QuantilePrediction | ArrayLike | None

_ARRAYS = {"absolute": ("mean",), "normalized": ("mean", "std"), "cqr": ("lower", "upper")}


class Guess(NamedTuple):
    """Intervals of which calibration moves each end outwards, by a multiple of `unit`.

    Args:
        lower: `(N, D)`.
        upper: `(N, D)`.
        unit: `(N, D)`, above 0.
        shape: that the targets have: `(N, D)`, or `(N)`.
    """

    lower: Float[Tensor, "N D"]
    upper: Float[Tensor, "N D"]
    unit: Float[Tensor, "N D"]
    shape: tuple[int, ...]


def guessed(
    score: NumberScore,
    alpha: float,
    mean: Numbers,
    std: ArrayLike | None,
    lower: ArrayLike | None,
    upper: ArrayLike | None,
) -> Guess:
    """Return the intervals that `score` starts from, in float64 and on the CPU."""
    is_prediction = isinstance(mean, (LocationScalePrediction, QuantilePrediction))
    given = {"mean": mean, "std": std, "lower": lower, "upper": upper}
    names = tuple(name for name, value in given.items() if value is not None)
    wanted = ("mean",) if is_prediction else _ARRAYS[score]
    if names != wanted:
        raise TypeError(
            f"the score {score!r} got {_listed(names)}, expected a prediction alone, or the arrays "
            f"{_listed(_ARRAYS[score])}."
        )
    if score == "cqr":
        if isinstance(mean, (LocationScalePrediction, QuantilePrediction)):
            lower, upper = mean.interval(1 - alpha)
        low, high = ordered_ends(numbers(lower, "lower"), numbers(upper, "upper"))  # type: ignore[arg-type] # both are wanted above
        unit = torch.ones_like(low)
    elif score == "absolute":
        if isinstance(mean, (LocationScalePrediction, QuantilePrediction)):
            mean = mean.centre
        low = high = numbers(mean, "mean")  # type: ignore[arg-type] # it is wanted above
        unit = torch.ones_like(low)
    else:
        low, unit = _standardised(mean, std)
        high = low
    return _checked(low, high, unit)


def _standardised(mean: Numbers, std: ArrayLike | None) -> tuple[Tensor, Tensor]:
    if isinstance(mean, QuantilePrediction):
        raise TypeError(
            "`mean` is a QuantilePrediction, which has no std: choose 'cqr' or 'absolute'."
        )
    prediction, shape = moments(mean, std)  # type: ignore[arg-type] # it is wanted above
    check_above_zero(prediction.std)
    prediction = in_float64(prediction)
    return prediction.mean.reshape(shape), prediction.std.reshape(shape)


def _checked(lower: Tensor, upper: Tensor, unit: Tensor) -> Guess:
    shape = tuple(lower.shape)
    if len(shape) not in (1, 2):
        raise ValueError(
            f"the predictions have shape {shape}, expected (N,) or (N, D): positions of one "
            "example are not exchangeable, choose one of each."
        )
    flat = (len(lower), -1)
    return Guess(lower.reshape(flat), upper.reshape(flat), unit.reshape(flat), shape)


def _listed(names: tuple[str, ...]) -> str:
    return " and ".join(f"`{name}`" for name in names) or "nothing"
