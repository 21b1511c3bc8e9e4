"""Values: what a tensor holds, told apart from others without looking at the data."""

from __future__ import annotations

from torch import Tensor
from torch._C._functorch import is_batchedtensor

__all__ = ["Value", "storage_of"]


class Value:
    """What a tensor holds, the same in every draw; calls are known by the identity of these.

    Attributes:
        like: shape and dtype.
        kept: the data, once a call that is not shared has read them.
        source: the weight or buffer, if it is one.
        storage: the values that share memory with this one.
    """

    __slots__ = ("kept", "like", "source", "storage")

    def __init__(self, tensor: Tensor, storage: list[Value], source: Tensor | None = None) -> None:
        self.like = (tensor.shape, tensor.dtype)
        self.kept: Tensor | None = None
        self.source = source
        self.storage = storage
        storage.append(self)

    def keep(self, tensor: Tensor) -> None:
        """Hold on to the data of `tensor`, which has this value."""
        if self.kept is None:
            self.kept = tensor.detach()


def storage_of(tensor: Tensor) -> int:
    """Return what tells a tensor's memory from that of others; draws of vmap have none to share."""
    return 0 if is_batchedtensor(tensor) else tensor.untyped_storage()._cdata
