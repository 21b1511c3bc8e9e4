"""Functions that scipy alone has: of tensors, without gradients, on the CPU."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

__all__ = ["by_scipy"]

_log = logging.getLogger(__name__)


def by_scipy(function: Callable[..., np.ndarray], *values: Tensor) -> Tensor:
    """Return what a function of scipy makes of tensors, where these are.

    It computes on the CPU, and the log says so elsewhere.

    >>> by_scipy(np.hypot, torch.tensor(3.0), torch.tensor(4.0))
    tensor(5.)
    """
    device = values[0].device
    if device.type != "cpu":
        _say_once(function.__name__, device)
    found = function(*(value.detach().cpu().numpy() for value in values))
    return torch.as_tensor(found).to(device)


@functools.cache
def _say_once(name: str, device: torch.device) -> None:
    _log.info("The function `%s` is scipy's: it leaves %s.", name, device)
