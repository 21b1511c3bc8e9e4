"""Interval score, coverage and width of intervals (PICP, MPIW), and pinball loss of quantiles."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_same_shape, check_share
from duda.devices import exact_device
from duda.evaluation.coverage import promised_levels
from duda.evaluation.numbers import compared
from duda.inputs import numbers, ordered_ends, which_count
from duda.predictions import NumberPrediction
from duda.predictions.given import NumbersGiven, prediction_given

__all__ = [
    "interval_coverage",
    "interval_score",
    "interval_width",
    "pinball",
    "pinball_of_quantiles",
]

_OTHER_END = "`upper` came beside a {}, which has its own: leave it out."


def interval_coverage(
    lower: NumbersGiven,
    upper: ArrayLike | None = None,
    y: ArrayLike | None = None,
    *,
    level: float | None = None,
    mask: ArrayLike | None = None,
) -> float:
    """Return the share of `y` in [`lower`, `upper`], whose ends belong to it (PICP).

    Args:
        lower: of any shape; -inf may pass. Or a prediction, followed by `y` in place of `upper`.
        upper: of the same shape; inf may pass.
        y: of the same shape, finite.
        level: the probability of the prediction's central intervals.
        mask: of the same shape: which targets count. Where it is False `y` may be NaN.

    Raises:
        TypeError: if `level` is missing beside a prediction, or comes without one.
        ValueError: if shapes differ, there is NaN, or a `lower` above its `upper`.

    >>> interval_coverage([0.0, 0.0], [1.0, 1.0], [1.0, 1.5])
    0.5
    """
    low, high, y = _ends(lower, upper, y, level)
    low, high, values = _counted(low, high, y, mask)
    return int(((low <= values) & (values <= high)).sum()) / values.numel()


def interval_width(
    lower: NumbersGiven, upper: ArrayLike | None = None, *, level: float | None = None
) -> float:
    """Return the mean of `upper` - `lower` (MPIW): among intervals that hold, narrow is better.

    Args:
        lower: of any shape; -inf may pass. Or a prediction.
        upper: of the same shape; inf may pass.
        level: the probability of the prediction's central intervals.

    Raises:
        TypeError: if `level` is missing beside a prediction, or comes without one.
        ValueError: if shapes differ, there is NaN, or a `lower` above its `upper`.

    >>> interval_width([0.0, 0.0], [1.0, 3.0])
    2.0
    """
    low, high, other = _ends(lower, upper, None, level)
    if other is not None:
        raise TypeError(_OTHER_END.format(type(lower).__name__))
    return float((high - low).mean())


def interval_score(
    lower: NumbersGiven,
    upper: ArrayLike | None = None,
    y: ArrayLike | None = None,
    level: float | None = None,
    *,
    mask: ArrayLike | None = None,
) -> float:
    """Return the mean width, plus 2 / (1 - `level`) times how far `y` lies outside.

    It is a proper score, in units of `y`, and least for the true central interval. Also named
    after Winkler (1972). Source: Gneiting & Raftery 2007, eq. 43.

    Args:
        lower: of any shape. Or a prediction, followed by `y` in place of `upper`.
        upper: of the same shape.
        y: of the same shape.
        level: the probability that the intervals promise.
        mask: of the same shape: which targets count. Where it is False `y` may be NaN.

    Raises:
        TypeError: if `level` is missing.
        ValueError: if shapes differ, there is NaN, a `lower` above its `upper`, or `level` is not
            between 0 and 1.

    >>> interval_score([0.0, 0.0], [1.0, 1.0], [0.5, 1.5], level=0.5)
    2.0
    """
    if level is None:
        raise TypeError("`level` is missing: give the probability that the intervals promise.")
    level = check_share(level, "level")
    low, high, y = _ends(lower, upper, y, level, of_arrays_too=True)
    low, high, values = _counted(low, high, y, mask)
    outside = (low - values).clamp(min=0) + (values - high).clamp(min=0)
    return float((high - low + 2 / (1 - level) * outside).mean())


def pinball(
    prediction: NumbersGiven,
    y: ArrayLike,
    levels: ArrayLike | None = None,
    *,
    std: ArrayLike | None = None,
    mask: ArrayLike | None = None,
) -> float:
    """Return the mean pinball loss over levels, examples and outputs, in units of `y`.

    It is least for the true quantiles; twice its value is the CRPS, over levels that lie evenly and
    close together. Source: Koenker & Bassett 1978; Gneiting 2011.

    Args:
        prediction: of numbers, or means, of Gaussians.
        y: of the shape of `prediction.centre`, or of the means.
        levels: which quantiles to ask for; those that a prediction of quantiles has by itself.
        std: one for each of the means.
        mask: of `y`'s shape: which targets count. Where it is False `y` may be NaN.

    Raises:
        TypeError: if `levels` are missing where the prediction has none of its own, or for a
            prediction of classes.
        ValueError: if `y` has not the shape of `prediction.centre`, holds NaN or infinite values,
            or none; or a level is not between 0 and 1.

    >>> from duda import QuantilePrediction
    >>> round(pinball(QuantilePrediction([[[0.0], [1.0]]], [0.1, 0.9]), [[0.5]]), 4)
    0.05
    """
    of_classes = "`evaluation.brier(prediction, y)`"
    found = compared(prediction, y, std, mask, instead=of_classes)
    levels = getattr(found.prediction, "levels", None) if levels is None else levels
    if levels is None:
        raise TypeError("`levels` is missing: give the probabilities of some quantiles.")
    promised = promised_levels(levels).tolist()

    def losses(rows: NumberPrediction, values: Tensor) -> Tensor:
        each = [_loss(values - rows.quantile(level), level) for level in promised]
        return torch.stack(each).mean(0)

    return float(found.each(losses).mean())


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
    points, promised = numbers(quantiles, "quantiles"), promised_levels(levels)
    values = numbers(y, "y").to(points.device)
    expected = (*values.shape[:1], len(promised), *values.shape[1:])
    check_same_shape(points, "quantiles", expected, "`y`, with the levels as dimension 1")
    level = promised.to(points.device).view(-1, *[1] * (values.ndim - 1))
    return _loss(values.unsqueeze(1) - points, level)


def _ends(
    lower: Any, upper: Any, y: Any, level: float | None, *, of_arrays_too: bool = False
) -> tuple[Tensor, Tensor, Any]:
    """Return the ends of intervals and what may lie in them, which comes second to a prediction."""
    of_classes = "`evaluation.reliability(prediction, y)`"
    prediction = prediction_given(lower, NumberPrediction, "lower", "lower ends", of_classes)
    if prediction is None:
        if level is not None and not of_arrays_too:
            raise TypeError(f"`level` is {level} beside the ends of intervals: leave it out.")
        return *ordered_ends(lower, upper), y
    if level is None:
        raise TypeError(
            f"`level` is missing beside a {type(lower).__name__}: give the probability of its "
            "central intervals."
        )
    if upper is not None and y is not None:
        raise TypeError(_OTHER_END.format(type(lower).__name__))
    ends = prediction.to(exact_device(prediction.device), torch.float64).interval(level)
    return *ordered_ends(*ends), upper if y is None else y


def _counted(low: Tensor, high: Tensor, y: Any, mask: ArrayLike | None) -> list[Tensor]:
    """Return the ends and the targets that count."""
    if mask is None:
        return [low, high, numbers(y, "y", low)]
    values = as_tensor(y, "y").to(low.device)
    check_same_shape(values, "y", tuple(low.shape), "the intervals")
    kept = which_count(mask, values, "`y`")
    return [low[kept], high[kept], numbers(values[kept], "y")]


def _loss(above: Tensor, level: float | Tensor) -> Tensor:
    return torch.maximum(level * above, (level - 1) * above)
