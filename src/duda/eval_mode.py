"""Evaluation mode for a while: modes and buffers end as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["in_eval_mode", "restore"]


@contextmanager
def in_eval_mode(network: nn.Module) -> Iterator[None]:
    """Put `network` in eval mode, and modes and buffers back at the end, also after an exception.

    >>> network = nn.BatchNorm1d(2)
    >>> with in_eval_mode(network):
    ...     network.training
    False
    >>> network.training
    True
    """
    modes = [(module, module.training) for module in network.modules()]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in network.modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    try:
        for module, _ in modes:
            module.training = False
        yield
    finally:
        for module, training in modes:
            module.training = training
        for module, name, buffer, content in buffers:
            module._buffers[name] = buffer
            restore(buffer, content)


def restore(tensor: Tensor, content: Tensor) -> None:
    """Write `content` into `tensor` if it holds anything else."""
    if not torch.equal(tensor, content):
        tensor.data.copy_(content)
