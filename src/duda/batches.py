"""Batches of inputs from whatever a user has: a tensor, an array, a Dataset or a DataLoader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from duda.checks import as_tensor, check_finite

__all__ = ["Inputs", "input_batches"]

Inputs = Tensor | np.ndarray | Dataset[Any] | DataLoader[Any]


def input_batches(data: Inputs, batch_size: int) -> tuple[Iterator[Tensor], int | None]:
    """Return an iterator over batches of inputs, and how many there are where that is known.

    Of a Dataset or DataLoader that gives pairs the first of each pair is the input. A DataLoader
    keeps its own batches.

    Raises:
        ValueError: if there are no examples, or an input is not finite.
        TypeError: if `data` is none of these, or its items hold no tensor.
    """
    if isinstance(data, (Tensor, np.ndarray)):
        if data.ndim == 0 or len(data) == 0:
            raise ValueError(
                f"`x` has shape {tuple(data.shape)}, expected at least one example on dimension 0."
            )
        starts = range(0, len(data), batch_size)
        # An array is copied batch by batch: it may be read-only, or larger than memory.
        pieces = (as_tensor(data[start : start + batch_size], "x") for start in starts)
        return _checked(pieces), len(starts)
    if isinstance(data, Dataset):
        data = DataLoader(data, batch_size)
    if not isinstance(data, DataLoader):
        raise TypeError(
            f"`x` is a {type(data).__name__}, expected a tensor, an array, a Dataset or a "
            "DataLoader."
        )
    try:
        count: int | None = len(data)
    except TypeError:  # an iterable data set need not know its length
        count = None
    if count == 0:
        raise ValueError("`x` has no examples, expected at least one.")
    return _checked(_first(item) for item in data), count


def _first(item: Any) -> Tensor:
    value = item[0] if isinstance(item, (tuple, list)) and item else item
    if not isinstance(value, Tensor):
        raise TypeError(
            f"a batch of `x` is a {type(item).__name__} with no tensor first, expected inputs or "
            "pairs (inputs, targets)."
        )
    return value


def _checked(batches: Any) -> Iterator[Tensor]:
    for batch in batches:
        check_finite(batch, "x")
        yield batch
