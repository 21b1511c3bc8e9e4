"""BatchNorm for weights that were never trained with: its statistics, computed anew for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from duda.batches import Batch, each_input, joined, rows_of
from duda.sampling import raw_outputs, swapped_weights

__all__ = ["batch_norms", "refreshed_statistics", "sampled_rows"]

_ROWS = 128  # in a pass


def batch_norms(network: nn.Module) -> dict[str, _BatchNorm]:
    """Return the BatchNorm layers that keep statistics, by name.

    >>> list(batch_norms(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))))
    ['1']
    """
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }


def refreshed_statistics(
    network: nn.Module, weights: Mapping[str, Tensor], x: Batch
) -> dict[str, Tensor]:
    """Return all BatchNorm statistics as they are for other weights, by their names.

    They are means over batches of 128 or fewer inputs, with all other layers in the modes that they
    have; the network stays as it is. Source: Izmailov et al. 2018, section 3.2.
    """
    norms = batch_norms(network)
    fresh = {
        f"{name}.{kind}" if name else kind: torch.zeros_like(buffer)
        for name, norm in norms.items()
        for kind, buffer in norm.named_buffers(recurse=False)
    }
    parts = -(-rows_of(x) // _ROWS)
    rows = torch.arange(rows_of(x)).tensor_split(parts)
    with swapped_weights(network, {**weights, **fresh}), _averaging(norms):
        for part in rows:
            raw_outputs(network, each_input(x, lambda values, part=part: values[part]))  # type: ignore[misc]
    return fresh


def sampled_rows(batches: Iterator[Batch], count: int) -> Batch | None:
    """Return `count` inputs drawn at random from all batches, or all, in random order.

    The data may be sorted, so that neither the first inputs nor their order would do. The same data
    give the same inputs. Source: Efraimidis & Spirakis 2006, with equal weights.
    """
    generator = torch.Generator().manual_seed(0)
    kept: Batch | None = None
    keys = torch.empty(0, dtype=torch.float64)
    for batch in batches:
        new = torch.rand(rows_of(batch), generator=generator, dtype=torch.float64)
        both = torch.cat([keys, new])
        chosen = both.topk(min(count, len(both)), largest=False, sorted=False).indices.sort().values
        if kept is not None and int(chosen[-1]) < len(keys):
            continue
        kept = _rows_of_both(kept, batch, chosen)
        keys = both[chosen]
    order = keys.argsort()
    return None if kept is None else each_input(kept, lambda values: values[order])


def _rows_of_both(kept: Batch | None, batch: Batch, chosen: Tensor) -> Batch:
    """Return some rows of the kept inputs and those of the batch, taken together."""
    if kept is None:
        return each_input(batch, lambda values: values[chosen])
    return each_input(joined([kept, batch]), lambda values: values[chosen])


@contextmanager
def _averaging(norms: Mapping[str, _BatchNorm]) -> Iterator[None]:
    """Let BatchNorm normalise by the batch, and keep the mean of the statistics of all batches."""
    before = [(norm, norm.training, norm.momentum) for norm in norms.values()]
    try:
        for norm, _, _ in before:
            norm.training, norm.momentum = True, None
        yield
    finally:
        for norm, training, momentum in before:
            norm.training, norm.momentum = training, momentum
