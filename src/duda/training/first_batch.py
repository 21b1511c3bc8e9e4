"""First batches: what a DataLoader gives by a certain seed, which tells its data from others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.utils.data import IterableDataset

from duda.batches import Batch
from duda.preservation import others_seeded, seeded
from duda.trees import checksum

if TYPE_CHECKING:
    from duda.training.data import LoaderData

__all__ = ["first_identity", "tensors_identity"]


def tensors_identity(x: Batch, y: Tensor) -> list[Any]:
    """Return names, shapes and checksums, as JSON values."""
    named = x if isinstance(x, dict) else {"x": x}
    return [
        [str(name), list(tensor.shape), checksum(tensor)]
        for name, tensor in (*named.items(), ("y", y))
    ]


def first_identity(data: LoaderData) -> list[Any]:
    """Return what the first batch is by a certain seed of torch, numpy and Python.

    It is read twice: what is random by other seeds is told by its shape alone.

    Raises:
        ValueError: if that holds for all of it, or the data can be read only once.
    """
    _check_read_again(data)
    one, other = _first(data), _first(data)
    if not any(each == again for each, again in zip(one, other, strict=True)):
        raise ValueError(
            f"`checkpoint` cannot tell whether `{data.source.name}` is the same when the run goes "
            "on: its first batch differs at each reading, by the same seed. Let random numbers "
            "come from torch, numpy's `numpy.random` or `random`, or leave `checkpoint` out."
        )
    return [each if each == again else each[:2] for each, again in zip(one, other, strict=True)]


def _first(data: LoaderData) -> list[Any]:
    with seeded(0, []), others_seeded(0):
        for x, y, weight in data.shuffled(0, 0, 0):
            weights = [] if weight is None else tensors_identity(weight, y)[:1]
            return [*tensors_identity(x, y), *weights]
    return []


def _check_read_again(data: LoaderData) -> None:
    """Raise unless the data set can be read from its start at any time."""
    found = data.loader.dataset
    parts = vars(found).values() if hasattr(found, "__dict__") else ()
    if isinstance(found, IterableDataset) and any(isinstance(each, Iterator) for each in parts):
        raise ValueError(
            f"`checkpoint` is given, but `{data.source.name}` is a stream that can be read only "
            "once: make its iterator in `__iter__`, or leave `checkpoint` out."
        )
