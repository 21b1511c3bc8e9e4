"""Data as users have them: tensors, arrays, tables, a Dataset or a DataLoader, read by batches.

One reader for `fit`, `predict` and `fit_posterior`, so that each wrong thing is told in one way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    TensorDataset,
    default_collate,
)

from duda.arrays import Arrays, array_of, arrays_of, is_loadable
from duda.batches import Batch, check_batch, check_rows, named_parts, of_batch, rows_of
from duda.checks import ArrayLike, as_tensor, doubt_finite
from duda.class_names import ClassNames
from duda.items import SAY, ItemRule, no_item, split, taken_by, tensors_of, told

__all__ = [
    "Inputs",
    "ItemRule",
    "Labelled",
    "LoaderSource",
    "Source",
    "TensorSource",
    "read_inputs",
    "read_pairs",
]

Several = Mapping[str, Arrays] | tuple[Arrays, ...]
Inputs = Arrays | Several | Dataset[Any] | DataLoader[Any] | Any  # tables and data sets of others
Labelled = tuple[ArrayLike | Several, ArrayLike] | Dataset[Any] | DataLoader[Any] | Any


class Source(ABC):
    """Data that are checked as they are read, each time anew and in their order.

    Attributes:
        name: of the argument that they came as.
        nan_targets: whether NaN says that a target is missing.
    """

    name: str
    nan_targets: bool

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
            self._check(x, y, number)
            yield x, y
        if number == 0:
            raise ValueError(f"`{self.name}` gave no batch, expected at least one at each reading.")

    def _check(self, x: Batch, y: Tensor | None, number: int) -> None:
        """Raise a `ValueError` if a batch, counted from 1, is not finite, or has other rows."""
        check_batch(x, self._known(y), self.name, number if self.numbered() else None)

    def _known(self, y: Tensor | None) -> Tensor | None:
        """Return the targets that have to be finite."""
        if y is None or not self.nan_targets or not y.is_floating_point():
            return y
        return y.masked_fill(y.isnan(), 0)


@dataclass(frozen=True, eq=False)
class TensorSource(Source):
    """Tensors or arrays with an example in each row.

    An array is copied batch by batch: it may be read-only, or larger than memory.
    """

    x: Arrays | dict[str, Arrays]
    y: Tensor | None
    batch_size: int
    name: str
    nan_targets: bool = False

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

    def _check(self, x: Batch, y: Tensor | None, number: int) -> None:
        """Check a batch, which is read again where that finds something: none is kept for it."""
        start = (number - 1) * self.batch_size

        def look() -> None:
            super(TensorSource, self)._check(*self.rows(start, start + self.batch_size), number)

        for _, values in named_parts(x, self._known(y), self.name):
            doubt_finite(values, look)

    def whole(self) -> tuple[Batch, Tensor]:
        """Return all inputs and targets."""
        x, y = self.rows(0, self.examples())
        check_batch(x, self._known(y), self.name)
        return x, cast(Tensor, y)

    def rows(self, start: int, stop: int) -> tuple[Batch, Tensor | None]:
        """Return examples as tensors."""
        y = None if self.y is None else self.y[start:stop]
        of = of_batch(self.name)
        if isinstance(self.x, dict):
            named = self.x.items()
            return {k: as_tensor(v[start:stop], f"x[{k!r}]{of}") for k, v in named}, y
        x = self.x if stop - start >= len(self.x) else self.x[start:stop]  # one call less
        return as_tensor(x, f"x{of}"), y


@dataclass(frozen=True, eq=False)
class LoaderSource(Source):
    """A DataLoader with batches of its own."""

    loader: DataLoader[Any]
    name: str
    labelled: bool
    rule: ItemRule | None = None
    taken: Mapping[str, bool] = field(default_factory=dict)
    names: ClassNames | None = None
    whole_targets: Callable[[Any], Any] | None = None
    nan_targets: bool = False

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
        return (self._read(item) for item in started)

    def _read(self, item: Any) -> tuple[Batch, Tensor | None]:
        x, y = told(item, self.rule) if self.rule else split(item, self.taken)
        y = y if self.whole_targets is None else self.whole_targets(y)
        if self.names is not None:
            y = self.names.coded(y, f"y of {self.name}", whole=False)
        batch = tensors_of(x)
        if batch is not None and (isinstance(y, Tensor) or not self.labelled):
            return batch, y if self.labelled else None
        raise TypeError(no_item(item, self.name, self.labelled))


def read_inputs(
    data: Inputs,
    batch_size: int,
    name: str = "x",
    rule: ItemRule | None = None,
    network: nn.Module | None = None,
) -> TensorSource | LoaderSource:
    """Return inputs that can be read, without the targets that are beside or in them.

    A DataLoader keeps its own batches.

    Args:
        data: inputs, which may be named or several; a Dataset, a table or a DataLoader.
        batch_size: examples at a time.
        name: of the argument.
        rule: says what an item is.
        network: that takes them, of which some may have the names of targets.

    Raises:
        ValueError: if there are no examples, or not as many of each name.
        TypeError: if `data` is none of these.

    >>> source = read_inputs({"a": torch.zeros(5, 2)}, batch_size=2)
    >>> source.examples(), [x["a"].shape[0] for x in source.inputs()]
    (5, [2, 2, 1])
    """
    if type(data) is TensorDataset and 0 < len(data.tensors) < 3 and rule is None:
        data = data.tensors[0]  # the same examples without a call for each
    expected = "a tensor, an array, a Dataset or a DataLoader, or tensors by name"
    if not is_loadable(data):
        x = data
        if rule or isinstance(data, Mapping):
            x, _ = told(data, rule) if rule else split(data, taken_by(network))
        arrays = arrays_of(x, name, expected)
        check_rows(arrays, None, name)
        return TensorSource(arrays, None, batch_size, name)
    loader = _loader(data, batch_size, name, expected, rule, False)
    return replace(loader, taken=taken_by(network))


def read_pairs(
    data: Labelled,
    batch_size: int,
    name: str = "data",
    rule: ItemRule | None = None,
    *,
    names: ClassNames | None = None,
    whole_targets: Callable[[Any], Any] | None = None,
    shuffle: bool = False,
    drop_last: bool = False,
    nan_targets: bool = False,
) -> TensorSource | LoaderSource:
    """Return inputs and targets that can be read.

    Args:
        data: `(x, y)`, of which the inputs may be named or several, a dict with its targets in it,
            a Dataset of such items, or a DataLoader with batches of its own.
        batch_size: examples at a time.
        name: of the argument.
        rule: says what an item is.
        names: of classes, for labels that are words.
        whole_targets: makes one tensor of targets for several outputs.
        shuffle: read a Dataset in random order.
        drop_last: leave out the last batch of a Dataset where it is smaller.
        nan_targets: whether NaN says that a target is missing.

    Raises:
        ValueError: if there are no examples, or not as many targets as inputs.
        TypeError: if `data` is none of these.
    """
    if type(data) is TensorDataset and len(data.tensors) == 2 and rule is None:
        data = data.tensors
    expected = "a pair (x, y) of tensors or arrays, a Dataset or a DataLoader"
    if is_loadable(data):
        loader = _loader(data, batch_size, name, expected, rule, True, shuffle, drop_last)
        return replace(loader, names=names, whole_targets=whole_targets, nan_targets=nan_targets)
    x, y = told(data, rule) if rule else split(data)
    if y is None:
        raise TypeError(f"`{name}` is a {type(data).__name__}, expected {expected}: {SAY}.")
    y = y if whole_targets is None else whole_targets(y)
    y = y if names is None else names.coded(y, f"y of {name}")
    inputs = x if isinstance(x, tuple | Mapping) else array_of(x, f"x of {name}")
    arrays, targets = arrays_of(inputs, name, expected, f" of {name}"), array_of(y, f"y of {name}")
    targets = as_tensor(targets, f"y of {name}")
    check_rows(arrays, targets, name)
    return TensorSource(arrays, targets, batch_size, name, nan_targets)


def _loader(
    data: Any,
    batch_size: int,
    name: str,
    expected: str,
    rule: ItemRule | None,
    labelled: bool,
    shuffle: bool = False,
    drop_last: bool = False,
) -> LoaderSource:
    if not isinstance(data, DataLoader):
        ordered = isinstance(data, IterableDataset)
        if not ordered and len(data) == 0:
            raise ValueError(f"`{name}` has no examples, expected at least one.")
        data = DataLoader(data, batch_size, shuffle and not ordered, drop_last=drop_last)
    source = LoaderSource(data, name, labelled, rule)
    if source.batches() == 0:
        raise ValueError(f"`{name}` has no batches, expected at least one.")
    return source
