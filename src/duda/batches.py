"""Batches of inputs: a tensor, or tensors by the names that a network takes them by."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

__all__ = ["Batch", "each_input", "rows_of", "suited"]

Batch = Tensor | dict[str, Tensor]


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


def suited(x: Batch, network: nn.Module) -> Batch:
    """Return inputs on the device of the network's weights, and numbers in their dtype.

    >>> suited(torch.ones(1, dtype=torch.float64), nn.Linear(1, 1)).dtype
    torch.float32
    """
    like = next(network.parameters(), torch.empty(0))

    def moved(values: Tensor) -> Tensor:
        return values.to(like.device, like.dtype if values.is_floating_point() else None)

    return each_input(x, moved)
