"""Ordered values and their quantiles, on the device of the values."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

__all__ = ["ascending", "quantiles"]


def ascending(values: Shaped[Tensor, "N *C"]) -> Shaped[Tensor, "N *C"]:
    """Return `values` in ascending order, each column by itself."""
    if values.device.type == "cpu":
        # Several times quicker than torch's sort, which is stable: values need not be.
        return torch.from_numpy(np.sort(values.numpy(), axis=0))
    return values.sort(dim=0).values


def quantiles(
    values: Float[Tensor, "N *C"], shares: Float[Tensor, "K"], lower: bool = False
) -> Float[Tensor, "K *C"]:
    """Return quantiles of each column, between two values interpolated, or the lower of these.

    Source: Hyndman & Fan 1996, definition 7. `torch.quantile` takes at most 2^24 values.

    >>> quantiles(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([0.25, 0.5]))
    tensor([1.5000, 2.0000])
    """
    ordered = ascending(values)
    places = shares.to(ordered) * (len(values) - 1)
    below = places.long()
    low = ordered[below]
    if lower:
        return low
    high = ordered[(below + 1).clamp(max=len(values) - 1)]
    part = (places - below).view(-1, *[1] * (values.ndim - 1))
    between = torch.lerp(low, high, part)
    # Between two neighbors among floats is nothing, and the lower one is not above itself.
    return torch.where((part > 0) & (between <= low), high, between)
