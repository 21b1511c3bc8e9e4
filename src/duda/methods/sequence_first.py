"""Sequence-first networks, which take examples for steps, told by what their outputs depend on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from duda.batches import Batch, each_input, rows_of
from duda.outputs import raw_outputs
from duda.sampling import tensors

__all__ = ["is_sequence", "takes_rows_for_steps"]


def is_sequence(values: Tensor) -> bool:
    """Return whether inputs `(N, T)` are tokens, or `(N, T, F)` features of steps."""
    return values.ndim == 2 + values.is_floating_point()


def takes_rows_for_steps(network: nn.Module, x: Batch) -> bool:
    """Return whether an output depends on other examples, and not on other steps of its own.

    Args:
        network: in eval mode.
        x: a few examples.

    >>> import duda
    >>> x, network = torch.randn(3, 5, 4), nn.GRU(4, 2)
    >>> for network.batch_first in (False, True):
    ...     print(takes_rows_for_steps(duda.layers.Outputs(network, 0), x))
    True
    False
    """
    steps = {each.shape[1] for each in tensors(x) if is_sequence(each)}
    if rows_of(x) < 2 or len(steps) != 1 or steps == {1}:
        return False
    outputs = raw_outputs(network, x)
    if _agree(raw_outputs(network, each_input(x, lambda values: values[-1:])), outputs[-1:]):
        return False
    try:
        last = raw_outputs(network, each_input(x, _last_step))
    except Exception:  # as those for sequences of one length
        return False
    return _agree(last, outputs[:, -1:]) or _agree(last, outputs[..., -1:])


def _last_step(values: Tensor) -> Tensor:
    return values[:, -1:] if is_sequence(values) else values


def _agree(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    tolerance = torch.finfo(other.dtype).eps ** 0.5 * float(other.detach().abs().max())
    return torch.allclose(one, other, rtol=0, atol=tolerance, equal_nan=True)
