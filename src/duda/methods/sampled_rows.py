"""Rows drawn at random from a stream of batches, all rows with the same chance."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor

from duda.batches import Batch, each_input, joined, rows_of
from duda.transfer import sent

__all__ = ["SampledRows", "sampled_rows"]


class SampledRows:
    """Keeps so many rows of all batches that it is given, or all, in random order.

    The data may be sorted, so that neither the first rows nor their order would do. The same data
    give the same rows. Source: Efraimidis & Spirakis 2006, with equal weights.

    Args:
        count: how many rows to keep.

    >>> rows = SampledRows(2)
    >>> rows.add(torch.zeros(3, 1))
    >>> rows.kept()
    tensor([[0.],
            [0.]])
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._generator = torch.Generator().manual_seed(0)
        self._kept: Batch | None = None
        self._keys = torch.empty(0, dtype=torch.float64)

    def add(self, batch: Batch) -> None:
        """Keep some rows of a batch, in the place of some that were kept before."""
        new = torch.rand(rows_of(batch), generator=self._generator, dtype=torch.float64)
        both = torch.cat([self._keys, new])
        chosen = both.topk(min(self.count, len(both)), largest=False, sorted=False).indices
        chosen = chosen.sort().values
        if self._kept is not None and chosen.numpy()[-1] < len(self._keys):
            return
        self._keys = both[chosen]
        rows = batch if self._kept is None else joined([self._kept, batch])
        self._kept = each_input(rows, partial(_rows, rows=chosen))

    def kept(self) -> Batch | None:
        """Return the rows, None if there are none."""
        order = self._keys.argsort()
        return None if self._kept is None else each_input(self._kept, partial(_rows, rows=order))


def _rows(values: Tensor, rows: Tensor) -> Tensor:
    return values.index_select(0, sent(rows, values.device))


def sampled_rows(batches: Iterable[Batch], count: int) -> Batch | None:
    """Return `count` rows of all batches, or all, in random order."""
    rows = SampledRows(count)
    for batch in batches:
        rows.add(batch)
    return rows.kept()
