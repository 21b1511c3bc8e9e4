"""Scores of intervals and of quantiles, from any program."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, check_same_shape
from duda.evaluation.numbers import targets
from duda.evaluation.regression import promised_levels
from duda.inputs import numbers, ordered_ends
from duda.predictions import LocationScalePrediction, QuantilePrediction

__all__ = [
    "interval_coverage",
    "interval_score",
    "interval_width",
    "pinball",
    "pinball_of_quantiles",
]


def interval_coverage(lower: ArrayLike, upper: ArrayLike, y: ArrayLike) -> float:
    """Return the share of `y` in [`lower`, `upper`], whose ends belong to it (PICP).

    Args:
        lower: of any shape; -inf may pass.
        upper: of the same shape; inf may pass.
        y: of the same shape, finite.

    Raises:
        ValueError: if shapes differ, there is NaN, or a `lower` above its `upper`.

    >>> interval_coverage([0.0, 0.0], [1.0, 1.0], [1.0, 1.5])
    0.5
    """
    low, high = ordered_ends(lower, upper)
    values = numbers(y, "y", low)
    return int(((low <= values) & (values <= high)).sum()) / values.numel()


def interval_width(lower: ArrayLike, upper: ArrayLike) -> float:
    """Return the mean of `upper` - `lower` (MPIW): among intervals that hold, narrow is better.

    Raises:
        ValueError: if shapes differ, there is NaN, or a `lower` above its `upper`.

    >>> interval_width([0.0, 0.0], [1.0, 3.0])
    2.0
    """
    low, high = ordered_ends(lower, upper)
    return float((high - low).mean())


def interval_score(lower: ArrayLike, upper: ArrayLike, y: ArrayLike, level: float) -> float:
    """Return the mean width, plus 2 / (1 - `level`) times how far `y` lies outside.

    It is a proper score, in units of `y`, and least for the true central interval. Also named
    after Winkler (1972). Source: Gneiting & Raftery 2007, eq. 43.

    Args:
        lower: of any shape.
        upper: of the same shape.
        y: of the same shape.
        level: the probability that the intervals promise.

    Raises:
        ValueError: if shapes differ, there is NaN, a `lower` above its `upper`, or `level` is not
            between 0 and 1.

    >>> interval_score([0.0, 0.0], [1.0, 1.0], [0.5, 1.5], level=0.5)
    2.0
    """
    if not 0 < level < 1:
        raise ValueError(f"`level` is {level}, expected a probability between 0 and 1.")
    low, high = ordered_ends(lower, upper)
    values = numbers(y, "y", low)
    outside = (low - values).clamp(min=0) + (values - high).clamp(min=0)
    return float((high - low + 2 / (1 - level) * outside).mean())


def pinball(
    prediction: LocationScalePrediction | QuantilePrediction,
    y: ArrayLike,
    levels: ArrayLike | None = None,
    *,
    mask: ArrayLike | None = None,
) -> float:
    """Return the mean pinball loss over levels, examples and outputs, in units of `y`.

    It is least for the true quantiles; twice its value is the CRPS, over levels that lie evenly and
    close together. Source: Koenker & Bassett 1978; Gneiting 2011.

    Args:
        prediction: of numbers.
        y: of the shape of `prediction.centre`.
        levels: which quantiles to ask for; those that a prediction of quantiles has by itself.
        mask: of `y`'s shape: which targets count. Where it is False `y` may be NaN.

    Raises:
        TypeError: if `levels` are missing where the prediction has none of its own.
        ValueError: if `y` has not the shape of `prediction.centre`, holds NaN or infinite values,
            or none; or a level is not between 0 and 1.

    >>> round(pinball(QuantilePrediction([[[0.0], [1.0]]], [0.1, 0.9]), [[0.5]]), 4)
    0.05
    """
    prediction = prediction.to("cpu")
    values, counted = targets(prediction, y, mask)
    if levels is None:
        if not isinstance(prediction, QuantilePrediction):
            raise TypeError("`levels` is missing: give the probabilities of some quantiles.")
        levels = prediction.levels
    promised = promised_levels(levels).tolist()
    losses = [_loss(values - prediction.quantile(level), level)[counted] for level in promised]
    return float(torch.stack([loss.mean() for loss in losses]).mean())


def pinball_of_quantiles(
    quantiles: ArrayLike, levels: ArrayLike, y: ArrayLike
) -> Float[Tensor, "N Q *rest"]:
    """Return the pinball loss of each quantile, in units of `y`.

    Args:
        quantiles: `(N, Q, *rest)`, in units of `y`.
        levels: `(Q)`, their probabilities.
        y: `(N, *rest)`.

    Raises:
        ValueError: if shapes differ, a number is NaN or infinite, or a level is not between 0 and
            1.

    >>> pinball_of_quantiles([[0.0, 1.0]], [0.1, 0.9], [0.5])
    tensor([[0.0500, 0.0500]], dtype=torch.float64)
    """
    values, promised = numbers(y, "y"), promised_levels(levels)
    points = numbers(quantiles, "quantiles")
    expected = (*values.shape[:1], len(promised), *values.shape[1:])
    check_same_shape(points, "quantiles", expected, "`y`, with the levels as dimension 1")
    level = promised.view(-1, *[1] * (values.ndim - 1))
    return _loss(values.unsqueeze(1) - points, level)


def _loss(above: Tensor, level: float | Tensor) -> Tensor:
    return torch.maximum(level * above, (level - 1) * above)
