"""Indices of examples: numbers, slices and masks, checked."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from duda.checks import as_tensor

__all__ = ["chosen"]


def chosen(index: Any, count: int) -> slice | Tensor:
    """Return `index` as a slice forwards, or as one dimension of truth values or numbers.

    Raises:
        IndexError: if it asks for examples that are not among the `count`.

    >>> chosen(-1, 3), chosen([True, False, True], 3)
    (tensor([-1]), tensor([ True, False,  True]))
    """
    if isinstance(index, slice):
        if index.step is None or index.step > 0:
            return index
        index = range(count)[index]  # torch's slices cannot go backwards
    numbers = as_tensor(index, "index")
    if numbers.ndim > 1 or (numbers.is_floating_point() and len(numbers.flatten())):
        raise IndexError(
            f"`index` has shape {tuple(numbers.shape)} and dtype {numbers.dtype}, expected one "
            "dimension of numbers of examples, or of True and False."
        )
    if numbers.dtype == torch.bool:
        if numbers.shape != (count,):
            raise IndexError(
                f"`index` is a mask of shape {tuple(numbers.shape)}, expected ({count},): one True "
                "or False for each example."
            )
        return numbers
    numbers = numbers.long().reshape(-1)
    wrong = (numbers < -count) | (numbers >= count)
    if bool(wrong.any()):
        raise IndexError(
            f"`index` asks for example {int(numbers[wrong][0])} of a prediction for {count}, "
            f"expected {-count} to {count - 1}."
        )
    return numbers
