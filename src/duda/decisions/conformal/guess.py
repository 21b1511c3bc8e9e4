"""Conformal scores of numbers: intervals before calibration, from predictions or arrays."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike
from duda.decisions.numbers import check_spread
from duda.devices import exact_device
from duda.inputs import numbers, ordered_ends
from duda.predictions import NumberPrediction
from duda.predictions.given import NumbersGiven, centres, number_prediction, prediction_given

__all__ = ["Guess", "NumberScore", "guessed"]

NumberScore = Literal["absolute", "normalized", "cqr"]

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
    mean: NumbersGiven | None,
    std: ArrayLike | None,
    lower: ArrayLike | None,
    upper: ArrayLike | None,
) -> Guess:
    """Return the intervals that `score` starts from, in float64."""
    prediction = prediction_given(mean, NumberPrediction, "mean", "means")
    given = {"mean": mean, "std": std, "lower": lower, "upper": upper}
    names = tuple(name for name, value in given.items() if value is not None)
    wanted = ("mean",) if prediction is not None else _ARRAYS[score]
    if names != wanted:
        alone = names == ("mean",)  # predictions of points
        remedy = ': for means alone choose `score="absolute"`' if alone else ""
        raise TypeError(
            f"the score {score!r} got {_listed(names)}, expected a prediction alone, or the arrays "
            f"{_listed(_ARRAYS[score])}{remedy}."
        )
    if score == "normalized":
        return _standardized(*number_prediction(mean, std))  # type: ignore[arg-type] # wanted above
    if score == "absolute":
        low = high = numbers(centres(mean), "mean")  # type: ignore[arg-type] # wanted above
    else:
        ends = (lower, upper) if prediction is None else _interval(prediction, 1 - alpha)
        low, high = ordered_ends(numbers(ends[0], "lower"), numbers(ends[1], "upper"))  # type: ignore[arg-type] # wanted above
    return _checked(low, high, torch.ones_like(low))


def _interval(prediction: NumberPrediction, level: float) -> tuple[Tensor, Tensor]:
    return prediction.to(exact_device(prediction.device), torch.float64).interval(level)


def _standardized(prediction: NumberPrediction, shape: tuple[int, ...]) -> Guess:
    if not prediction.can("std"):
        raise TypeError(
            f"`mean` is a {type(prediction).__name__}, which has no std: choose 'cqr' or "
            "'absolute'."
        )
    check_spread(prediction)
    mean, std = numbers(prediction.mean, "mean"), numbers(prediction.std, "std")
    return _checked(mean.reshape(shape), mean.reshape(shape), std.reshape(shape))


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
