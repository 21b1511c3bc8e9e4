"""Devices for exact sums: that of the data if it has float64, else the CPU; and in full floats."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from duda.checks import at_least_float32

__all__ = ["exact_device", "on_exact_device", "uncast"]

_log = logging.getLogger(__name__)


def on_exact_device(value: Tensor) -> Tensor:
    """Return `value` where it can be worked on in float64: on its device, or on the CPU.

    >>> on_exact_device(torch.zeros(1)).device
    device(type='cpu')
    """
    return value.to(exact_device(value.device))


@functools.cache
def exact_device(device: torch.device) -> torch.device:
    """Return `device` if it has float64, as MPS has not; else the CPU, which the log says once."""
    if device.type in ("cpu", "cuda") or _has_float64(device):
        return device
    _log.warning(
        "%s has no float64: metrics and decisions of what lies there run on the CPU.", device
    )
    return torch.device("cpu")


def _has_float64(device: torch.device) -> bool:
    try:
        torch.zeros(1, dtype=torch.float64, device=device).sum()
    except (TypeError, RuntimeError):
        return False
    return True


@contextmanager
def uncast(value: Tensor) -> Iterator[Tensor]:
    """Turn `torch.autocast` off where it is on, and give `value` in float32 at least there.

    >>> with torch.autocast("cpu", torch.bfloat16), uncast(torch.ones(2, 2).bfloat16()) as ones:
    ...     (ones @ ones).dtype
    torch.float32
    """
    device = value.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        with torch.autocast(device, enabled=False):
            yield at_least_float32(value)
    else:
        yield value
