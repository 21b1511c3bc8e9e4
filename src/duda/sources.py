"""Data as users have them: tensors, arrays, a Dataset or a DataLoader, read batch by batch.

One reader for `fit`, `predict` and `fit_posterior`, so that each wrong thing is told in one way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    TensorDataset,
    default_collate,
)

from duda.batches import Batch, check_batch, check_rows, named_parts, of_batch, rows_of
from duda.checks import ArrayLike, as_tensor

__all__ = [
    "Inputs",
    "Labelled",
    "LoaderSource",
    "Source",
    "TensorSource",
    "read_inputs",
    "read_pairs",
]

Arrays = Tensor | np.ndarray
Inputs = Arrays | Mapping[str, Arrays] | Dataset[Any] | DataLoader[Any]
Labelled = tuple[ArrayLike | Mapping[str, ArrayLike], ArrayLike] | Dataset[Any] | DataLoader[Any]


class Source(ABC):
    """Data that are checked as they are read, each time anew and in their order.

    Attributes:
        name: of the argument that they came as.
    """

    name: str

    @abstractmethod
    def examples(self) -> int | None:
        """Return the number of examples, or None where it is not known."""

    @abstractmethod
    def batches(self) -> int | None:
        """Return the number of batches, or None where it is not known."""

    def numbered(self) -> bool:
        """Return whether an error says which batch it is about."""
        return True

    @abstractmethod
    def items(self) -> Iterator[tuple[Batch, Tensor | None]]:
        """Start a DataLoader, and return inputs, and targets if there are some, unchecked."""

    def inputs(self) -> Iterator[Batch]:
        """Start to read, and return the inputs of each batch."""
        return (x for x, _ in self._checked(self.items()))

    def pairs(self) -> Iterator[tuple[Batch, Tensor]]:
        """Start to read, and return inputs and targets of each batch."""
        return ((x, cast(Tensor, y)) for x, y in self._checked(self.items()))

    def whole(self) -> tuple[Batch, Tensor]:
        """Return all inputs and targets, read once."""
        x, y = zip(*self.pairs(), strict=True)
        if isinstance(x[0], dict):
            return {name: torch.cat([part[name] for part in x]) for name in x[0]}, torch.cat(y)
        return torch.cat(x), torch.cat(y)

    def _checked(
        self, items: Iterator[tuple[Batch, Tensor | None]]
    ) -> Iterator[tuple[Batch, Tensor | None]]:
        number = 0
        for number, (x, y) in enumerate(items, 1):  # read after the loop
            check_batch(x, y, self.name, number if self.numbered() else None)
            yield x, y
        if number == 0:
            raise ValueError(f"`{self.name}` gave no batch, expected at least one at each reading.")


@dataclass(frozen=True, eq=False)
class TensorSource(Source):
    """Tensors or arrays with an example in each row.

    An array is copied batch by batch: it may be read-only, or larger than memory.
    """

    x: Arrays | dict[str, Arrays]
    y: Tensor | None
    batch_size: int
    name: str

    def examples(self) -> int:
        """Return the number of examples."""
        return rows_of(self.x)  # type: ignore[arg-type] # an array has a length, too

    def batches(self) -> int:
        """Return the number of batches."""
        return -(-self.examples() // self.batch_size)

    def items(self) -> Iterator[tuple[Batch, Tensor | None]]:
        """Yield rows, the last batch with what is left."""
        for start in range(0, self.examples(), self.batch_size):
            yield self.rows(start, start + self.batch_size)

    def numbered(self) -> bool:
        """Return whether there are several batches."""
        return self.batches() > 1

    def whole(self) -> tuple[Batch, Tensor]:
        """Return all inputs and targets."""
        x, y = self.rows(0, self.examples())
        check_batch(x, y, self.name)
        return x, cast(Tensor, y)

    def rows(self, start: int, stop: int) -> tuple[Batch, Tensor | None]:
        """Return examples as tensors."""
        y = None if self.y is None else self.y[start:stop]
        of = of_batch(self.name)
        if isinstance(self.x, dict):
            named = self.x.items()
            return {k: as_tensor(v[start:stop], f"x[{k!r}]{of}") for k, v in named}, y
        return as_tensor(self.x[start:stop], f"x{of}"), y


@dataclass(frozen=True, eq=False)
class LoaderSource(Source):
    """A DataLoader with batches of its own; of pairs the first is the input."""

    loader: DataLoader[Any]
    name: str
    labelled: bool

    def examples(self) -> int | None:
        """Return how many examples a reading gives, or None where only counting tells."""
        loader, batches = self.loader, self.loader.batch_sampler
        if isinstance(loader.dataset, IterableDataset) or type(batches) is not BatchSampler:
            return None
        if loader.collate_fn is not default_collate:
            return None
        try:
            count = len(batches.sampler)  # type: ignore[arg-type]
        except (TypeError, NotImplementedError):
            return None
        return count - count % batches.batch_size if batches.drop_last else count

    def batches(self) -> int | None:
        """Return the number of batches, or None where it is not known."""
        try:
            return len(self.loader)
        except TypeError:  # an iterable data set need not know its length
            return None

    def items(self) -> Iterator[tuple[Batch, Tensor | None]]:
        """Return the batches as the DataLoader gives them."""
        started = iter(self.loader)  # which takes a random number for its workers, now
        if self.labelled:
            return (_pair(item, self.name) for item in started)
        return ((_first(item, self.name), None) for item in started)


def read_inputs(data: Inputs, batch_size: int, name: str = "x") -> TensorSource | LoaderSource:
    """Return inputs that can be read; of a Dataset or DataLoader of pairs the first of each.

    Named inputs, such as `{"input_ids": ..., "attention_mask": ...}`, are what the network takes as
    keyword arguments. A DataLoader keeps its own batches.

    Raises:
        ValueError: if there are no examples, or not as many of each name.
        TypeError: if `data` is none of these.

    >>> source = read_inputs({"a": torch.zeros(5, 2)}, batch_size=2)
    >>> source.examples(), [x["a"].shape[0] for x in source.inputs()]
    (5, [2, 2, 1])
    """
    if type(data) is TensorDataset and data.tensors:
        data = data.tensors[0]  # the same examples without a call for each
    if isinstance(data, Tensor | np.ndarray | Mapping):
        arrays = dict(data) if isinstance(data, Mapping) else data
        for kind, values in named_parts(arrays, None, name):
            if not isinstance(values, Tensor | np.ndarray):
                raise TypeError(
                    f"`{kind}` is a {type(values).__name__}, expected a tensor or an array."
                )
        check_rows(arrays, None, name)
        return TensorSource(arrays, None, batch_size, name)
    expected = "a tensor, an array, a Dataset or a DataLoader, or tensors by name"
    return _loader(data, batch_size, name, expected, labelled=False)


def read_pairs(
    data: Labelled, batch_size: int, name: str = "data", *, shuffle: bool = False
) -> TensorSource | LoaderSource:
    """Return inputs and targets that can be read.

    Args:
        data: `(x, y)`, of which the inputs may be named, a Dataset of pairs, or a DataLoader with
            batches of its own.
        batch_size: examples at a time.
        name: of the argument.
        shuffle: read a Dataset in random order.

    Raises:
        ValueError: if there are no examples, or not as many targets as inputs.
        TypeError: if `data` is none of these.
    """
    if type(data) is TensorDataset and len(data.tensors) == 2:
        data = data.tensors
    if isinstance(data, tuple | list) and len(data) == 2:
        x, y = data
        arrays = (
            {key: _array(values, f"x[{key!r}] of {name}") for key, values in x.items()}
            if isinstance(x, Mapping)
            else _array(x, f"x of {name}")
        )
        targets = as_tensor(y, f"y of {name}")
        check_rows(arrays, targets, name)
        return TensorSource(arrays, targets, batch_size, name)
    expected = "a pair (x, y) of tensors or arrays, a Dataset or a DataLoader"
    return _loader(data, batch_size, name, expected, labelled=True, shuffle=shuffle)


def _array(values: Any, name: str) -> Arrays:
    return values if isinstance(values, Tensor | np.ndarray) else as_tensor(values, name)


def _loader(
    data: Any, batch_size: int, name: str, expected: str, labelled: bool, shuffle: bool = False
) -> LoaderSource:
    if isinstance(data, Dataset):
        ordered = isinstance(data, IterableDataset)
        if not ordered and len(data) == 0:  # type: ignore[arg-type]
            raise ValueError(f"`{name}` has no examples, expected at least one.")
        data = DataLoader(data, batch_size, shuffle=shuffle and not ordered)
    if not isinstance(data, DataLoader):
        raise TypeError(f"`{name}` is a {type(data).__name__}, expected {expected}.")
    source = LoaderSource(data, name, labelled)
    if source.batches() == 0:
        raise ValueError(f"`{name}` has no batches, expected at least one.")
    return source


def _pair(item: Any, name: str) -> tuple[Batch, Tensor]:
    """Return inputs and targets of a DataLoader's batch."""
    x, y = item if isinstance(item, tuple | list) and len(item) == 2 else (item, None)
    batch = _tensors(x)
    if batch is None or not isinstance(y, Tensor):
        raise TypeError(
            f"a batch of `{name}` is a {type(item).__name__}, expected a pair of tensors (inputs, "
            "targets), of which the inputs may be named."
        )
    return batch, y


def _first(item: Any, name: str) -> Batch:
    """Return the inputs of a DataLoader's batch, which may be alone or come before others."""
    batch = _tensors(item[0] if isinstance(item, tuple | list) and item else item)
    if batch is None:
        raise TypeError(
            f"a batch of `{name}` is a {type(item).__name__} with no tensor first, expected inputs "
            "or pairs (inputs, targets)."
        )
    return batch


def _tensors(x: Any) -> Batch | None:
    """Return a tensor or a dict of some, or None for anything else."""
    if isinstance(x, Mapping):
        return dict(x) if x and all(isinstance(part, Tensor) for part in x.values()) else None
    return x if isinstance(x, Tensor) else None
