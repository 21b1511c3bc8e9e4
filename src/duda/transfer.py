"""Transfer of tensors to a device, without waiting for it where that is safe."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["sent"]


def sent(values: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Return values on a device, and in a dtype if it is given.

    >>> sent(torch.ones(1), torch.device("cpu"), torch.float64).dtype
    torch.float64
    """
    # The other way, to the host, nobody would know when they have arrived.
    return values.to(device, dtype, non_blocking=device.type == "cuda")
