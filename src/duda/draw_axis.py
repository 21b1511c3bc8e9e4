"""The axis on which vmap hides draws: tensors are taken out of hiding, and put back."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch._C._functorch import (
    _add_batch_dim,
    get_unwrapped,
    is_batchedtensor,
    maybe_get_bdim,
    maybe_get_level,
)

__all__ = ["Axis"]


@dataclass(frozen=True)
class Axis:
    """The draws that vmap hides in tensors: on its level, and how many.

    >>> import torch
    >>> x = torch.arange(6.0).view(3, 2)
    >>> torch.vmap(lambda row: Axis.of(row).hidden(2 * Axis.of(row).shown(row)))(x).tolist()
    [[0.0, 2.0], [4.0, 6.0], [8.0, 10.0]]
    """

    level: int
    size: int

    @classmethod
    def of(cls, *tensors: Tensor) -> Axis | None:
        """Return that of the tensors that have one, the innermost."""
        hiding = [each for each in tensors if is_batchedtensor(each)]
        if not hiding:
            return None
        first = max(hiding, key=maybe_get_level)
        return cls(maybe_get_level(first), get_unwrapped(first).shape[maybe_get_bdim(first)])

    def hides(self, x: Tensor) -> bool:
        """Return whether draws are hidden in `x`."""
        return is_batchedtensor(x) and maybe_get_level(x) == self.level

    def shown(self, x: Tensor, ndim: int = 0) -> Tensor:
        """Return `x` with the draws on dimension 0, if it has any, and at least `ndim` others."""
        fill = [1] * (ndim - x.ndim)
        if not self.hides(x):
            return x
        dim, x = maybe_get_bdim(x), get_unwrapped(x)
        x = x.movedim(dim, 0) if dim else x
        return x.reshape(len(x), *fill, *x.shape[1:]) if fill else x

    def spread(self, x: Tensor) -> Tensor:
        """Return `x` with all draws on dimension 0."""
        return self.shown(x) if self.hides(x) else x.expand(self.size, *x.shape)

    def hidden(self, x: Tensor, dim: int = 0) -> Tensor:
        """Return `x` with its draws, which are on a dimension, hidden again."""
        return _add_batch_dim(x, dim, self.level)

    def at(self, number: int, x: Tensor) -> Tensor:
        """Return one draw of `x`, or `x` if it has none."""
        return self.shown(x)[number] if self.hides(x) else x
