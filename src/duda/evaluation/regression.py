"""Do intervals and quantiles hold what they promise: coverage, and the loss of quantiles."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_finite, check_not_empty, check_same_shape
from duda.predictions import LocationScalePrediction, QuantilePrediction

__all__ = ["Coverage", "coverage", "pinball"]

_LEVELS: tuple[float, ...] = tuple(percent / 100 for percent in range(5, 100, 5))


@dataclass(frozen=True, eq=False)
class Coverage:
    """The promised and the observed share of targets inside central intervals.

    Source: Kuleshov et al. 2018, section 3.5, for central intervals in place of quantiles.

    Args:
        levels: `(L)`, promised, float64.
        observed: `(L)`, float64; below its level the prediction is too sure, above too cautious.
    """

    levels: Float[Tensor, "L"]
    observed: Float[Tensor, "L"]

    @property
    def mean_error(self) -> float:
        """Mean over levels of |observed - promised|."""
        return float((self.observed - self.levels).abs().mean())


def coverage(
    prediction: LocationScalePrediction | QuantilePrediction,
    y: ArrayLike,
    levels: ArrayLike | None = None,
) -> Coverage:
    """Return the share of `y` inside the central interval of each level, whose ends belong to it.

    Args:
        prediction: intervals come from its `interval(level)`.
        y: of the shape of `prediction.centre`; the share is over examples and outputs.
        levels: probabilities between 0 and 1; by default 0.05 to 0.95, or the central levels of a
            prediction of quantiles.

    Raises:
        ValueError: if shapes differ, there are no targets, NaN or infinite ones, or a level is not
            between 0 and 1.

    >>> from duda import GaussianPrediction
    >>> answer = GaussianPrediction([[0.0], [0.0]], [[1.0], [1.0]])
    >>> coverage(answer, [[0.5], [1.5]], levels=[0.5, 0.95]).observed
    tensor([0.5000, 1.0000], dtype=torch.float64)
    """
    prediction = prediction.to("cpu")
    target = _targets(prediction, y)
    if levels is None:
        levels = _LEVELS
        if isinstance(prediction, QuantilePrediction):
            levels = prediction.central_levels
    promised = as_tensor(levels, "levels").cpu().double()
    if promised.ndim != 1 or not bool(((promised > 0) & (promised < 1)).all()) or not len(promised):
        raise ValueError(
            f"`levels` is {levels!r}, expected a list of probabilities between 0 and 1."
        )
    observed = [_share_inside(prediction, target, level) for level in promised.tolist()]
    return Coverage(promised, torch.tensor(observed, dtype=torch.float64))


def pinball(prediction: QuantilePrediction, y: ArrayLike) -> float:
    """Return the mean pinball loss over levels, examples and outputs, in units of `y`.

    It is least for the true quantiles; twice its value is the CRPS, over levels that lie evenly and
    close together. Source: Koenker & Bassett 1978; Gneiting 2011.

    Raises:
        ValueError: if `y` has not the median's shape, holds NaN or infinite values, or none.

    >>> round(pinball(QuantilePrediction([[[0.0], [1.0]]], [0.1, 0.9]), [[0.5]]), 4)
    0.05
    """
    prediction = prediction.to("cpu")
    above = _targets(prediction, y).double().unsqueeze(1) - prediction.quantiles.double()
    levels = prediction.levels.view(-1, *[1] * (above.ndim - 2))
    return float(torch.maximum(levels * above, (levels - 1) * above).mean())


def _targets(prediction: LocationScalePrediction | QuantilePrediction, y: ArrayLike) -> Tensor:
    target = as_tensor(y, "y").to(prediction.centre)
    check_same_shape(target, "y", tuple(prediction.centre.shape), "the predicted numbers")
    check_finite(target, "y")
    check_not_empty(target, "y")
    return target


def _share_inside(
    prediction: LocationScalePrediction | QuantilePrediction, y: Tensor, level: float
) -> float:
    lower, upper = prediction.interval(level)
    return int(((lower <= y) & (y <= upper)).sum()) / y.numel()
