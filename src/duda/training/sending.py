"""Sending of training data to the model's device: pinned on the way, or left on the host."""

from __future__ import annotations

import torch
from torch import Tensor

from duda.batches import Batch, dtype_for, each_input
from duda.checks import at_least_float32
from duda.transfer import sent

__all__ = ["fits", "moved", "pinned"]


def moved(x: Batch, y: Tensor, device: torch.device, dtype: torch.dtype) -> tuple[Batch, Tensor]:
    """Return inputs and targets on the device, and in floats that suit the model."""
    x = each_input(x, lambda part: sent(part, device, dtype_for(part.dtype, dtype)))
    # Numbers are large beside their noise at times, so targets keep their digits.
    return x, sent(at_least_float32(y) if y.is_floating_point() else y, device)


def pinned(x: Batch, device: torch.device) -> Batch:
    """Return inputs that a GPU can fetch while the host does something else."""
    if device.type != "cuda":
        return x
    return each_input(x, lambda part: part.pin_memory() if part.device.type == "cpu" else part)


def fits(x: Batch, device: torch.device) -> bool:
    """Return whether inputs take at most half of what a GPU has free, or are on it already.

    >>> fits(torch.ones(3), torch.device("cpu"))
    True
    """
    parts = [*x.values()] if isinstance(x, dict) else [x]
    if device.type != "cuda" or any(part.device.type == "cuda" for part in parts):
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return sum(part.nbytes for part in parts) <= free / 2
