"""Numbers to compare: predictions and targets, checked, in float64 and on the CPU."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_finite, check_not_empty, check_same_shape
from duda.inputs import flags
from duda.predictions import NumberPrediction
from duda.predictions.given import NumbersGiven, number_prediction

__all__ = ["blocks", "check_members", "compared"]

_NUMBERS_IN_A_BLOCK = 2**16


def compared(
    prediction: NumbersGiven,
    y: ArrayLike,
    std: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    *,
    instead: str,
    may_be_empty: bool = False,
) -> tuple[NumberPrediction, Float[Tensor, "N D *positions"], Bool[Tensor, "N D *positions"]]:
    """Return a prediction, what it is compared with, and which of it counts.

    Where `mask` is False `y` may be anything, NaN too: the predicted number stands there. It may
    be False everywhere only if what counts `may_be_empty`.

    Args:
        prediction: of numbers, or means, then with `std`.
        y: of the shape of the means, or of a prediction's centre.
        std: one for each of the means.
        mask: of `y`'s shape.
        instead: what to call with a prediction of something else.
        may_be_empty: whether `mask` may be False everywhere.
    """
    answer, shape = number_prediction(prediction, std, "prediction", instead)
    values, centre = as_tensor(y, "y").cpu().double(), answer.centre.cpu()
    check_not_empty(values, "y")
    check_same_shape(values, "y", shape, "the predicted numbers")
    counted = torch.ones((), dtype=torch.bool).expand_as(values)
    if mask is not None:
        counted = flags(mask, "mask", values, "`y`")
        if not may_be_empty and not bool(counted.any()):
            raise ValueError("`mask` is False everywhere, expected at least one target to count.")
        values = torch.where(counted, values, centre.double().reshape(shape))
    check_finite(values, "y", "remove or replace them, or leave them out by `mask`")
    return answer, values.reshape(centre.shape), counted.reshape(centre.shape)


def check_members(members: Tensor, name: str, y: Tensor) -> None:
    """Raise a `ValueError` unless `members` have the shape `(M, *shape)`, where `y` has `shape`."""
    if members.ndim == 0 or len(members) == 0:
        raise ValueError(
            f"`{name}` has shape {tuple(members.shape)}, expected (M, *shape), M at least 1."
        )
    check_same_shape(members, name, (len(members), *y.shape), "`y`, draws first")


def blocks(values: Tensor) -> Iterator[slice]:
    """Return slices of examples whose numbers fit into the caches of a processor.

    >>> list(blocks(torch.zeros(3, 2**15)))
    [slice(0, 2, None), slice(2, 4, None)]
    """
    size = max(1, _NUMBERS_IN_A_BLOCK // values[:1].numel())
    for start in range(0, len(values), size):
        yield slice(start, start + size)
