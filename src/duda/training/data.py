"""Training data in batches: tensors shuffled by a seed, or a DataLoader's own batches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from duda.batches import Batch, each_input
from duda.class_names import ClassNames
from duda.items import ItemRule
from duda.sources import Labelled, LoaderSource, read_pairs
from duda.training.first_batch import first_identity, tensors_identity
from duda.training.last_batch import last_joined, split_rows
from duda.training.seeds import epoch_seed
from duda.training.sending import fits, moved, pinned
from duda.training.weights import read_weights, split_weight, without_weight
from duda.transfer import sent

__all__ = ["Examples", "LoaderData", "TensorData", "prepare"]

_log = logging.getLogger(__name__)


class Examples(NamedTuple):
    """A batch for training, and how much each of its examples counts, if they differ."""

    x: Batch
    y: Tensor
    weight: Tensor | None


@dataclass(frozen=True)
class TensorData:
    """Inputs and targets as tensors, on the model's device and in its dtype.

    What `drop_last` and `join_last` say of the last batch holds for training. Inputs that are too
    large for a GPU stay on the host, and are sent batch by batch.
    """

    x: Batch
    y: Tensor
    batch_size: int
    drop_last: bool = False
    join_last: bool = False
    weight: Tensor | None = None
    on_host: bool = False  # the inputs alone

    @property
    def device(self) -> torch.device:
        """The model's."""
        return self.y.device

    def examples(self) -> int:
        """Return the number of examples in an epoch."""
        return sum(len(rows) for rows in self.split(torch.arange(len(self.y))))

    def places(self) -> int:
        """Return the number of all examples."""
        return len(self.y)

    def order(self, seed: int) -> Tensor:
        """Return the permutation of the examples that belongs to a seed of `epoch_seed`."""
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self.y), generator=generator)
        return order if self.on_host else sent(order, self.device)

    def shuffled(self, seed: int, member: int, epoch: int) -> Iterator[Examples]:
        """Yield the epoch's batches for a member."""
        for rows in self.split(self.order(epoch_seed(seed, member, epoch))):
            weight = None if self.weight is None else self.weight[rows]
            yield Examples(self.x_rows(rows), self.y[rows], weight)

    def split(self, order: Tensor) -> list[Tensor]:
        """Return the places of each batch's examples, which are on the last dimension."""
        return split_rows(
            order, self.batch_size, drop_last=self.drop_last, join_last=self.join_last
        )

    def in_order(self) -> Iterator[tuple[Batch, Tensor]]:
        """Yield the batches in the order of the data."""
        for start in range(0, len(self.y), self.batch_size):
            part = slice(start, start + self.batch_size)
            yield self.x_rows(part), self.y[part]

    def x_rows(self, rows: Tensor | slice) -> Batch:
        """Return the inputs of some examples."""
        found = each_input(self.x, lambda values: values[rows])
        if not self.on_host:
            return found
        return each_input(pinned(found, self.device), lambda part: sent(part, self.device))

    def batches(self) -> int | None:
        """Return the number of batches in an epoch."""
        return len(self.split(torch.arange(len(self.y))))

    def identity(self) -> list[Any]:
        """Return what tells these data from others: shapes and a checksum."""
        found = tensors_identity(self.x, self.y)
        return found if self.weight is None else [*found, tensors_identity(self.weight, self.y)[0]]


@dataclass(frozen=True)
class LoaderData:
    """A DataLoader, with its batches moved to the model's device and dtype."""

    source: LoaderSource
    device: torch.device
    dtype: torch.dtype
    join_last: bool = False
    weight: str | None = None  # the name of the input that holds them

    @property
    def loader(self) -> DataLoader[Any]:
        """What the user gave, or made of it."""
        return self.source.loader

    def shuffled(self, seed: int, member: int, epoch: int) -> Iterator[Examples]:
        """Yield the epoch's batches, in an order that depends on the member and the epoch."""
        with _generators_at(self.loader, member, epoch):
            batches = last_joined(self._read()) if self._may_join() else self._read()
            for x, y in batches:
                x, weight = split_weight(x, self.weight)
                yield Examples(x, y, weight)

    def _may_join(self) -> bool:
        """Return whether the last batch may be one of one example, to be joined to another."""
        size, examples = self.loader.batch_size, self.examples()
        if not self.join_last or size is None or examples is None:
            return self.join_last
        return size > 1 and examples % size == 1

    def in_order(self) -> Iterator[tuple[Batch, Tensor]]:
        """Yield the batches as the DataLoader gives them, each time in the same order."""
        with _generators_at(self.loader, 0, 0):
            for x, y in self._read():
                yield without_weight(x, self.weight), y

    def _read(self) -> Iterator[tuple[Batch, Tensor]]:
        for x, y in self.source.pairs():
            yield moved(pinned(x, self.device), y, self.device, self.dtype)

    def examples(self) -> int | None:
        """Return the number of examples in an epoch, or None where only counting tells."""
        return self.source.examples()

    def places(self) -> int | None:
        """Return the number of examples in the Dataset, or None where they have no places."""
        dataset = self.loader.dataset
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
            return None
        return len(dataset)

    def batches(self) -> int | None:
        """Return the number of batches in an epoch, or None where it is not known."""
        count = self.source.batches()
        joins = self.examples() is not None and self._may_join()
        return count - 1 if count is not None and count > 1 and joins else count

    def in_dataset_order(self, batch_size: int) -> LoaderData:
        """Return all examples of the Dataset, in its order, whatever the DataLoader samples.

        Raises:
            ValueError: if an example has no place in it.
        """
        loader, name = self.loader, self.source.name
        if self.places() is None:
            raise ValueError(
                f"`callbacks` watch examples by their place in the data, which `{name}`, a "
                "Dataset without a length or an order, does not know: give tensors, or a Dataset "
                "with `__len__` and `__getitem__`."
            )
        if loader.batch_sampler is None:
            raise ValueError(
                f"`callbacks` watch single examples, but the Dataset of `{name}` makes whole "
                "batches: give the DataLoader a `batch_size`."
            )
        ordered = DataLoader(
            loader.dataset,
            batch_size=loader.batch_size or batch_size,
            collate_fn=loader.collate_fn,
            num_workers=loader.num_workers,
            worker_init_fn=loader.worker_init_fn,
            multiprocessing_context=loader.multiprocessing_context,
        )
        source = replace(self.source, loader=ordered)
        return LoaderData(source, self.device, self.dtype, weight=self.weight)

    def identity(self) -> list[Any]:
        """Return what tells these data from others: number and size of batches, and the first.

        Raises:
            ValueError: if nothing does.
        """
        return [self.batches(), self.loader.batch_size, *first_identity(self)]


def prepare(
    data: Labelled,
    batch_size: int,
    device: torch.device,
    dtype: torch.dtype,
    name: str,
    shuffle: bool,
    rule: ItemRule | None = None,
    *,
    names: ClassNames | None = None,
    whole_targets: Callable[[Any], Any] | None = None,
    drop_last: bool = False,
    join_last: bool = False,
    weight: Any = None,
    nan_targets: bool = False,
) -> TensorData | LoaderData:
    """Return `data` in batches, the last of them dropped, or joined to another, if asked for.

    Weights are an array, or the name of the input that holds them.

    Raises:
        ValueError: if there are no examples, they are not finite, or inputs and targets differ in
            number.
        TypeError: if `data` is none of these.
    """
    if drop_last and isinstance(data, DataLoader):
        raise ValueError(
            f"`drop_last` is True, but `{name}` is a DataLoader with batches of its own: make it "
            "with `drop_last=True`."
        )
    source = read_pairs(
        data,
        batch_size,
        name,
        rule,
        names=names,
        whole_targets=whole_targets,
        shuffle=shuffle,
        drop_last=drop_last,
        nan_targets=nan_targets,
    )
    if isinstance(source, LoaderSource):
        if not (weight is None or isinstance(weight, str)):
            raise TypeError(
                f"`sample_weight` is a {type(weight).__name__}, but `{name}` gives its examples in "
                "an order of its own: let each item hold its weight, and give its name."
            )
        return LoaderData(source, device, dtype, join_last, weight)
    x, y = source.whole()
    if isinstance(weight, str):
        x, weight = split_weight(x, weight) if shuffle else (without_weight(x, weight), None)
    if drop_last and len(y) < batch_size:
        raise ValueError(
            f"`drop_last` is True, but `{name}` has {len(y)} examples, fewer than the "
            f"{batch_size} of a batch: give a smaller `batch_size`."
        )
    batches = {"batch_size": batch_size, "drop_last": drop_last, "join_last": join_last}
    return _tensors(x, y, weight, device, dtype, name, **batches)


def _tensors(
    x: Batch,
    y: Tensor,
    weight: Any,
    device: torch.device,
    dtype: torch.dtype,
    name: str,
    **batches: Any,
) -> TensorData:
    """Return data on the device, or the inputs on the host where these are too large for it."""
    if weight is not None:
        weight = read_weights(weight, len(y), device, dtype)
    on_host = not fits(x, device)
    if on_host:
        _log.info("the inputs of `%s` stay on the host, as the device has no room for them", name)
    x, _ = moved(x, y[:0], torch.device("cpu") if on_host else device, dtype)
    _, y = moved({}, y, device, dtype)
    return TensorData(x, y, weight=weight, on_host=on_host, **batches)


@contextmanager
def _generators_at(loader: DataLoader[Any], member: int, epoch: int) -> Iterator[None]:
    """Start the DataLoader's own generators from their first seed, the member and the epoch."""
    batches = loader.batch_sampler
    owners = (loader, loader.sampler, batches, getattr(batches, "sampler", None))
    each = (getattr(owner, "generator", None) for owner in owners)
    found = {id(g): g for g in each if isinstance(g, torch.Generator)}
    before = [(generator, generator.get_state()) for generator in found.values()]
    try:
        for generator, _ in before:
            generator.manual_seed(epoch_seed(generator.initial_seed(), member, epoch))
        yield
    finally:
        for generator, state in before:
            generator.set_state(state)
