"""Batches of inputs from whatever a user has: tensors, arrays, a Dataset or a DataLoader."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from duda.checks import ArrayLike, as_tensor, check_finite

__all__ = [
    "Batch",
    "Inputs",
    "Labelled",
    "each_input",
    "input_batches",
    "labelled_batches",
    "rows_of",
    "suited",
]

Batch = Tensor | dict[str, Tensor]
Inputs = Tensor | np.ndarray | Mapping[str, Tensor | np.ndarray] | Dataset[Any] | DataLoader[Any]
Labelled = (
    tuple[Tensor | np.ndarray | Mapping[str, Tensor | np.ndarray], ArrayLike]
    | Dataset[Any]
    | DataLoader[Any]
)


def each_input(x: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """Return the batch with its tensor, or each of its named tensors, changed.

    >>> import torch
    >>> each_input({"a": torch.ones(1), "b": torch.zeros(1)}, lambda tensor: tensor + 1)
    {'a': tensor([2.]), 'b': tensor([1.])}
    """
    if isinstance(x, Mapping):
        return {name: change(value) for name, value in x.items()}
    return change(x)


def rows_of(x: Batch) -> int:
    """Return the number of examples of a batch."""
    return len(next(iter(x.values())) if isinstance(x, Mapping) else x)


def input_batches(data: Inputs, batch_size: int) -> tuple[Iterator[Batch], int | None]:
    """Return an iterator over batches of inputs, and how many there are where that is known.

    Of a Dataset or DataLoader that gives pairs the first of each pair is the input. A DataLoader
    keeps its own batches. Named inputs, such as `{"input_ids": ..., "attention_mask": ...}`, are
    what the network takes as keyword arguments.

    Raises:
        ValueError: if there are no examples, or an input is not finite.
        TypeError: if `data` is none of these, or its items hold no tensor.
    """
    if isinstance(data, (Tensor, np.ndarray, Mapping)):
        count = _checked_count(data)
        starts = range(0, count, batch_size)
        # An array is copied batch by batch: it may be read-only, or larger than memory.
        pieces = (_piece(data, start, start + batch_size) for start in starts)
        return _checked(pieces), len(starts)
    if isinstance(data, Dataset):
        data = DataLoader(data, batch_size)
    if not isinstance(data, DataLoader):
        raise TypeError(
            f"`x` is a {type(data).__name__}, expected a tensor, an array, a Dataset or a "
            "DataLoader, or tensors by name."
        )
    try:
        batches: int | None = len(data)
    except TypeError:  # an iterable data set need not know its length
        batches = None
    if batches == 0:
        raise ValueError("`x` has no examples, expected at least one.")
    return _checked(_first(item) for item in data), batches


def labelled_batches(data: Labelled, batch_size: int) -> Iterator[tuple[Batch, Tensor]]:
    """Yield batches of inputs and targets; a DataLoader keeps its own batches.

    Raises:
        ValueError: if there are not as many targets as inputs, or an input is not finite.
        TypeError: if `data` is no pair (x, y), Dataset or DataLoader of pairs.
    """
    if isinstance(data, (tuple, list)) and len(data) == 2:
        x, y = data[0], as_tensor(data[1], "y")
        batches, _ = input_batches(x, batch_size)
        inputs = len(next(iter(x.values())) if isinstance(x, Mapping) else x)
        if y.ndim == 0 or len(y) != inputs:
            raise ValueError(
                f"`y` has shape {tuple(y.shape)} for {inputs} inputs, expected a target for each."
            )
        for start, batch in enumerate(batches):
            yield batch, y[start * batch_size : (start + 1) * batch_size]
        return
    if isinstance(data, Dataset):
        data = DataLoader(data, batch_size)
    if not isinstance(data, DataLoader):
        raise TypeError(
            f"`data` is a {type(data).__name__}, expected a pair (x, y) of tensors or arrays, a "
            "Dataset or a DataLoader."
        )
    for item in data:
        target = item[1] if isinstance(item, (tuple, list)) and len(item) == 2 else None
        if not isinstance(target, Tensor):
            raise TypeError(
                f"a batch of `data` is a {type(item).__name__}, expected a pair of tensors "
                "(inputs, targets), of which the inputs may be named."
            )
        yield next(_checked([_first(item)])), target


def _checked_count(data: Tensor | np.ndarray | Mapping[str, Any]) -> int:
    """Return the number of examples, if there are some, and as many of each input."""
    named = data if isinstance(data, Mapping) else {"x": data}
    if not named:
        raise ValueError("`x` is empty, expected at least one input by its name.")
    for name, values in named.items():
        if not isinstance(values, (Tensor, np.ndarray)):
            raise TypeError(
                f"`x[{name!r}]` is a {type(values).__name__}, expected a tensor or an array."
            )
        if values.ndim == 0 or len(values) == 0:
            raise ValueError(
                f"`{name}` has shape {tuple(values.shape)}, expected at least one example on "
                "dimension 0."
            )
    counts = {name: len(values) for name, values in named.items()}
    if len(set(counts.values())) != 1:
        raise ValueError(f"`x` has inputs for {counts} examples, expected as many for each name.")
    return next(iter(counts.values()))


def _piece(data: Any, start: int, stop: int) -> Batch:
    if isinstance(data, Mapping):
        return {name: as_tensor(values[start:stop], name) for name, values in data.items()}
    return as_tensor(data[start:stop], "x")


def _first(item: Any) -> Batch:
    value = item[0] if isinstance(item, (tuple, list)) and item else item
    named = isinstance(value, Mapping) and value
    if named and all(isinstance(each, Tensor) for each in value.values()):
        return dict(value)
    if not isinstance(value, Tensor):
        raise TypeError(
            f"a batch of `x` is a {type(item).__name__} with no tensor first, expected inputs or "
            "pairs (inputs, targets)."
        )
    return value


def _checked(batches: Any) -> Iterator[Batch]:
    for batch in batches:
        for name, values in batch.items() if isinstance(batch, dict) else [("x", batch)]:
            check_finite(values, name)
        yield batch


def suited(x: Batch, network: nn.Module) -> Batch:
    """Return inputs on the device of the network's weights, and numbers in their dtype.

    >>> suited(torch.ones(1, dtype=torch.float64), nn.Linear(1, 1)).dtype
    torch.float32
    """
    like = next(network.parameters(), torch.empty(0))

    def moved(values: Tensor) -> Tensor:
        return values.to(like.device, like.dtype if values.is_floating_point() else None)

    return each_input(x, moved)
