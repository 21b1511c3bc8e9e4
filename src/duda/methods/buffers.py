"""Buffers that a change of a model's dtype must not round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from torch import Tensor, nn

__all__ = ["KeepsDtype"]


class KeepsDtype(nn.Module):
    """A module whose own buffers move to other devices, but stay in the dtype that they have.

    Sums over data overflow in float16, and small eigenvalues drown in the rounding of large ones.

    >>> import torch
    >>> module = KeepsDtype()
    >>> module.register_buffer("total", torch.zeros(1, dtype=torch.float64))
    >>> module.half().total.dtype
    torch.float64
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        before = dict(self._buffers)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, buffer in before.items():
            moved = self._buffers[name]
            if buffer is not None and moved is not None and moved.dtype != buffer.dtype:
                self._buffers[name] = buffer.to(moved.device)
        return self
