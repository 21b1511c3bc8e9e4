"""Do intervals hold what they promise: the share of numbers that fall inside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_finite, check_not_empty, check_same_shape

if TYPE_CHECKING:
    from duda.predictions import GaussianPrediction

__all__ = ["Coverage", "coverage"]

_LEVELS = tuple(percent / 100 for percent in range(5, 100, 5))


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


def coverage(prediction: GaussianPrediction, y: ArrayLike, levels: ArrayLike = _LEVELS) -> Coverage:
    """Return the share of `y` inside the central interval of each level, whose ends belong to it.

    Args:
        prediction: intervals come from its `interval(level)`.
        y: of the shape of `prediction.mean`; the share is over examples and outputs.
        levels: probabilities between 0 and 1; 0.05 to 0.95 by default.

    Raises:
        ValueError: if shapes differ, there are no targets, NaN or infinite ones, or a level is not
            between 0 and 1.

    >>> from duda import GaussianPrediction
    >>> answer = GaussianPrediction([[0.0], [0.0]], [[1.0], [1.0]])
    >>> coverage(answer, [[0.5], [1.5]], levels=[0.5, 0.95]).observed
    tensor([0.5000, 1.0000], dtype=torch.float64)
    """
    prediction = prediction.to("cpu")
    target = as_tensor(y, "y").to(prediction.mean)
    check_same_shape(target, "y", tuple(prediction.mean.shape), "the predicted mean")
    check_finite(target, "y")
    check_not_empty(target, "y")
    promised = as_tensor(levels, "levels").cpu().double()
    if promised.ndim != 1 or not bool(((promised > 0) & (promised < 1)).all()) or not len(promised):
        raise ValueError(
            f"`levels` is {levels!r}, expected a list of probabilities between 0 and 1."
        )
    observed = [_share_inside(prediction, target, level) for level in promised.tolist()]
    return Coverage(promised, torch.tensor(observed, dtype=torch.float64))


def _share_inside(prediction: GaussianPrediction, y: Tensor, level: float) -> float:
    lower, upper = prediction.interval(level)
    return int(((lower <= y) & (y <= upper)).sum()) / y.numel()
