"""Dropout masks from raw random bits: several times cheaper than one float for each mask."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._C._functorch import is_batchedtensor
from torch.autograd import Function

__all__ = ["drop", "dropped"]


def dropped(x: Tensor, mask_shape: tuple[int, ...], p: float, draw: Tensor | None) -> Tensor:
    """Return `x` dropped as by `drop`, or so that gradients reach it where they are wanted.

    Args:
        x: what to drop entries of.
        mask_shape: broadcasts against `x`, from the right.
        p: the probability to drop.
        draw: the number of the draw; a mask for each where vmap hides several.
    """
    if draw is not None and is_batchedtensor(draw):
        drawn: Tensor = _DrawnDropout.apply(draw, x, mask_shape, p)  # type: ignore[no-untyped-call]
        return drawn
    if torch.is_grad_enabled() or x.device.type != "cpu":
        return x * F.dropout(torch.ones(mask_shape, dtype=x.dtype, device=x.device), p)
    return drop(x, mask_shape, p)


def drop(x: Tensor, mask_shape: tuple[int, ...], p: float) -> Tensor:
    """Return `x` with entries zeroed with probability `p` and the others scaled by 1 / (1 - p).

    `mask_shape` broadcasts against `x`, from the right. A mask is the comparison of 8 or 16 random
    bits with a threshold, so p is met exactly where it is a multiple of 1/256 and within 2⁻¹⁷
    elsewhere; the scale belongs to the probability met, so that the mean is right.
    Source: Srivastava et al. 2014, section 10 (inverted scaling).

    >>> x = drop(torch.ones(1000), (1000,), p=0.5)
    >>> sorted(set(x.tolist()))
    [0.0, 2.0]
    """
    levels, dtype = (256, torch.uint8) if (256 * p).is_integer() else (65536, torch.int16)
    dropped = round(levels * p)
    if dropped == 0:
        return x.clone()
    if dropped == levels:
        return torch.zeros_like(x)
    bits = _random_bits(mask_shape, dtype, x.device)
    threshold = dropped if dtype is torch.uint8 else dropped - 32768  # int16 starts below zero
    scaled = x * (levels / (levels - dropped))
    return torch.where(bits >= threshold, scaled, torch.zeros((), dtype=x.dtype, device=x.device))


def _random_bits(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return uniform integers over all values of `dtype`, cut from 64-bit words of torch's RNG."""
    size = torch.Size(shape).numel()
    each = 8 // dtype.itemsize
    # `random_` without bounds leaves the sign bit out; these bounds fill all 64 bits.
    words = torch.empty(-(-size // each), dtype=torch.int64, device=device)
    words.random_(-(2**63), None)
    return words.view(dtype)[:size].view(shape)


class _DrawnDropout(Function):
    """Dropout with one mask for each draw, where the draws are an axis that vmap hides.

    The number of the draw is an argument because it is what vmap has given that axis: the input
    itself is often the same for all draws, and then stays a single copy until it meets the masks.
    """

    @staticmethod
    def forward(draw: Tensor, x: Tensor, mask_shape: tuple[int, ...], p: float) -> Tensor:
        """Return one draw, for a `draw` without hidden axis."""
        return drop(x, mask_shape, p)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep nothing: predictions take no gradients."""

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        draw: Tensor,
        x: Tensor,
        mask_shape: tuple[int, ...],
        p: float,
    ) -> tuple[Tensor, int]:
        """Return all draws, their axis first."""
        if in_dims[1] is not None:
            x = x.movedim(in_dims[1], 0)
        return drop(x, (info.batch_size, *mask_shape), p), 0
