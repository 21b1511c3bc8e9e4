"""Training data in batches: tensors shuffled by a seed, or a DataLoader's own batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from duda.batches import Batch, each_input
from duda.checks import ArrayLike, as_tensor, check_finite, check_not_empty
from duda.training.seeds import epoch_seed
from duda.trees import checksum

__all__ = ["Data", "LoaderData", "TensorData", "prepare"]

Data = Dataset[Any] | DataLoader[Any] | tuple[ArrayLike | Mapping[str, ArrayLike], ArrayLike]


@dataclass(frozen=True)
class TensorData:
    """Inputs and targets as tensors, on the model's device and in its dtype."""

    x: Batch
    y: Tensor
    batch_size: int

    def examples(self) -> int | None:
        """Return the number of examples."""
        return len(self.y)

    def order(self, seed: int) -> Tensor:
        """Return the permutation of the examples that belongs to a seed of `epoch_seed`."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randperm(len(self.y), generator=generator).to(self.y.device)

    def shuffled(self, seed: int, member: int, epoch: int) -> Iterator[tuple[Batch, Tensor]]:
        """Yield the epoch's batches for a member."""
        for rows in torch.split(self.order(epoch_seed(seed, member, epoch)), self.batch_size):
            yield self.x_rows(rows), self.y[rows]

    def in_order(self) -> Iterator[tuple[Batch, Tensor]]:
        """Yield the batches in the order of the data."""
        for rows in torch.split(torch.arange(len(self.y)), self.batch_size):
            part = slice(int(rows[0]), int(rows[-1]) + 1)
            yield self.x_rows(part), self.y[part]

    def x_rows(self, rows: Tensor | slice) -> Batch:
        """Return the inputs of some examples."""
        return each_input(self.x, lambda values: values[rows])

    def batches(self) -> int | None:
        """Return the number of batches in an epoch."""
        return -(-len(self.y) // self.batch_size)

    def identity(self) -> list[Any]:
        """Return what tells these data from others: shapes and a checksum."""
        found: list[Any] = []
        inputs = self.x.values() if isinstance(self.x, dict) else (self.x,)
        for tensor in (*inputs, self.y):
            found += [list(tensor.shape), checksum(tensor)]
        return found


@dataclass(frozen=True)
class LoaderData:
    """A DataLoader, with its batches checked and moved to the model's device and dtype."""

    loader: DataLoader[Any]
    device: torch.device
    dtype: torch.dtype
    name: str

    def shuffled(self, seed: int, member: int, epoch: int) -> Iterator[tuple[Batch, Tensor]]:
        """Yield the epoch's batches, in an order that depends on the member and the epoch."""
        with _generators_at(self.loader, member, epoch):
            yield from self.in_order()

    def in_order(self) -> Iterator[tuple[Batch, Tensor]]:
        """Yield the batches as the DataLoader gives them."""
        count = 0
        for count, item in enumerate(self.loader, 1):  # read after the loop
            pair = isinstance(item, (tuple, list)) and len(item) == 2
            x, y = item if pair else (item, None)
            x = dict(x) if isinstance(x, Mapping) and x else x
            inputs = list(x.values()) if isinstance(x, dict) else [x]
            if not isinstance(y, Tensor) or not all(isinstance(part, Tensor) for part in inputs):
                raise TypeError(
                    f"a batch of `{self.name}` is a {type(item).__name__}, expected a pair of "
                    "tensors (inputs, targets), of which the inputs may be named."
                )
            yield _ready(x, y, self.device, self.dtype, f"batch {count} of {self.name}")
        if count == 0:
            raise ValueError(f"`{self.name}` gave no batch, expected at least one in each epoch.")

    def examples(self) -> int | None:
        """Return the number of examples, or None where it is not known."""
        try:
            return len(self.loader.dataset)  # type: ignore[arg-type]
        except TypeError:
            return None

    def batches(self) -> int | None:
        """Return the number of batches in an epoch, or None where it is not known."""
        try:
            return len(self.loader)
        except TypeError:  # an iterable data set need not know its length
            return None

    def in_dataset_order(self, batch_size: int) -> LoaderData:
        """Return all examples of the Dataset, in its order, whatever the DataLoader samples.

        Raises:
            ValueError: if an example has no place in it.
        """
        loader = self.loader
        if self.examples() is None or isinstance(loader.dataset, IterableDataset):
            raise ValueError(
                f"`callbacks` watch examples by their place in the data, which `{self.name}`, a "
                "Dataset without a length or an order, does not know: give tensors, or a Dataset "
                "with `__len__` and `__getitem__`."
            )
        if loader.batch_sampler is None:
            raise ValueError(
                f"`callbacks` watch single examples, but the Dataset of `{self.name}` makes whole "
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
        return LoaderData(ordered, self.device, self.dtype, self.name)

    def identity(self) -> list[Any]:
        """Return what tells these data from others: the number and size of the batches."""
        return [self.batches(), self.loader.batch_size]


def prepare(
    data: Data,
    batch_size: int,
    device: torch.device,
    dtype: torch.dtype,
    name: str,
    shuffle: bool,
) -> TensorData | LoaderData:
    """Return `data` in batches.

    Raises:
        ValueError: if there are no examples, they are not finite, or inputs and targets differ in
            number.
        TypeError: if `data` is none of these.
    """
    if type(data) is TensorDataset and len(data.tensors) == 2:
        data = data.tensors  # the same examples without a call for each
    if isinstance(data, (tuple, list)) and len(data) == 2:
        x, y = data
        inputs: Batch = (
            {key: as_tensor(values, f"x[{key!r}] of {name}") for key, values in x.items()}
            if isinstance(x, Mapping)
            else as_tensor(x, f"x of {name}")
        )
        y = as_tensor(y, f"y of {name}")
        return TensorData(*_ready(inputs, y, device, dtype, name), batch_size)
    if isinstance(data, Dataset):
        if not isinstance(data, IterableDataset) and len(data) == 0:  # type: ignore[arg-type]
            raise ValueError(f"`{name}` has no examples, expected at least one.")
        data = DataLoader(
            data, batch_size, shuffle=shuffle and not isinstance(data, IterableDataset)
        )
    if not isinstance(data, DataLoader):
        raise TypeError(
            f"`{name}` is a {type(data).__name__}, expected a pair (x, y) of tensors or arrays, a "
            "Dataset or a DataLoader."
        )
    loaded = LoaderData(data, device, dtype, name)
    if loaded.batches() == 0:
        raise ValueError(f"`{name}` has no batches, expected at least one.")
    return loaded


def _ready(
    x: Batch, y: Tensor, device: torch.device, dtype: torch.dtype, name: str
) -> tuple[Batch, Tensor]:
    """Return inputs and targets, checked, on the device and in floats that suit the model."""
    named = {f"x[{key!r}]": part for key, part in x.items()} if isinstance(x, dict) else {"x": x}
    for kind, part in {**named, "y": y}.items():
        if part.ndim == 0:
            raise ValueError(f"`{kind} of {name}` is one number, expected examples on dimension 0.")
        check_not_empty(part, f"{kind} of {name}")
        check_finite(part, f"{kind} of {name}")
    for part in named.values():
        if len(part) != len(y):
            raise ValueError(
                f"`{name}` has {len(part)} inputs but {len(y)} targets, expected one target for "
                "each."
            )
    x = each_input(x, lambda part: part.to(device, dtype if part.is_floating_point() else None))
    # A likelihood computes in float32 at least, so its targets keep that precision.
    precise = torch.promote_types(dtype, torch.float32)
    return x, y.to(device, precise if y.is_floating_point() else None)


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
