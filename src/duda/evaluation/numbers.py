"""What metrics of numbers ask of their input, which comes out checked, float64 and on the CPU."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_finite, check_not_empty, check_same_shape
from duda.inputs import flags
from duda.predictions import NumberPrediction

__all__ = ["blocks", "check_members", "targets"]

_NUMBERS_IN_A_BLOCK = 2**16


def targets(
    prediction: NumberPrediction,
    y: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    may_be_empty: bool = False,
) -> tuple[Float[Tensor, "N D *positions"], Bool[Tensor, "N D *positions"]]:
    """Return what `prediction` is compared with, and which of it counts.

    Where `mask` is False `y` may be anything, NaN too: the predicted number stands there. It may
    be False everywhere only if what counts `may_be_empty`.
    """
    values = as_tensor(y, "y").cpu().double()
    centre = prediction.centre.cpu()
    check_same_shape(values, "y", tuple(centre.shape), "the predicted numbers")
    check_not_empty(values, "y")
    if mask is None:
        counted = torch.ones((), dtype=torch.bool).expand_as(values)
    else:
        counted = flags(mask, "mask", values, "`y`")
        if not may_be_empty and not bool(counted.any()):
            raise ValueError("`mask` is False everywhere, expected at least one target to count.")
        values = torch.where(counted, values, centre.double())
    check_finite(values, "y", "remove or replace them, or leave them out by `mask`")
    return values, counted


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
