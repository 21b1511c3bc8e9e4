"""A last batch of one example, by which BatchNorm cannot normalize: joined to the one before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from duda.batches import Batch, joined, rows_of

__all__ = ["has_batch_norm", "last_joined", "split_rows"]


def has_batch_norm(network: nn.Module) -> bool:
    """Return whether some layer is a BatchNorm, torch's or another, by its name.

    >>> has_batch_norm(nn.Sequential(nn.BatchNorm1d(3))), has_batch_norm(nn.LayerNorm(3))
    (True, False)
    """
    return any("batchnorm" in type(module).__name__.lower() for module in network.modules())


def split_rows(order: Tensor, size: int, *, drop_last: bool, join_last: bool) -> list[Tensor]:
    """Return the places of each batch's examples, which are on the last dimension.

    Args:
        order: the places of all.
        size: examples in a batch.
        drop_last: leave out the last batch if it is smaller.
        join_last: join a last batch of one example to the one before, unless all are of one.

    >>> split_rows(torch.arange(5), 2, drop_last=False, join_last=True)
    [tensor([0, 1]), tensor([2, 3, 4])]
    """
    parts = list(torch.split(order, size, dim=-1))
    last = parts[-1].shape[-1]
    if drop_last and last < size:
        return parts[:-1]
    if join_last and last == 1 < size and len(parts) > 1:
        parts[-2:] = [torch.cat(parts[-2:], dim=-1)]
    return parts


def last_joined(batches: Iterable[tuple[Batch, Tensor]]) -> Iterator[tuple[Batch, Tensor]]:
    """Yield batches, the last one with the one before if it has one example and they fit.

    So each is read before the one before it is yielded, and the last before the two before it.

    >>> pairs = [(torch.zeros(n, 2), torch.zeros(n)) for n in (2, 2, 1)]
    >>> [len(y) for _, y in last_joined(pairs)]
    [2, 3]
    """
    held: list[tuple[Batch, Tensor]] = []
    for batch in batches:
        held.append(batch)
        if len(held) == 3:
            yield held.pop(0)
    if len(held) == 2 and rows_of(held[1][0]) == 1 < rows_of(held[0][0]) and _alike(*held):
        (x, y), (last_x, last_y) = held
        held = [(joined([x, last_x]), torch.cat([y, last_y]))]
    yield from held


def _alike(one: tuple[Batch, Tensor], other: tuple[Batch, Tensor]) -> bool:
    """Return whether two batches have the same names and shapes but for the number of examples."""
    return _shapes(one) == _shapes(other)


def _shapes(batch: tuple[Batch, Tensor]) -> list[object]:
    x, y = batch
    named = x if isinstance(x, dict) else {"": x}
    return [{name: part.shape[1:] for name, part in named.items()}, y.shape[1:]]
