"""Values: what a tensor holds, told apart from others without looking at the data."""

from __future__ import annotations

from torch import Tensor
from torch._C._functorch import is_batchedtensor

__all__ = ["Storage", "Value", "storage_of"]


class Storage:
    """Memory that one or several values lie in.

    Attributes:
        values: how many.
        source: the weight or buffer that it belongs to, if it does.
    """

    __slots__ = ("source", "values")

    def __init__(self, source: Tensor | None = None) -> None:
        self.source = source
        self.values = 0


class Value:
    """What a tensor holds, the same in every draw; calls are known by the identity of these.

    Attributes:
        like: shape and dtype.
        kept: the data, once a call that is not shared has read them.
        storage: the memory that they lie in.
        is_source: whether it is the weight or buffer itself, and not something in its memory.
    """

    __slots__ = ("is_source", "kept", "like", "storage")

    def __init__(self, tensor: Tensor, storage: Storage | None = None) -> None:
        self.like = (tensor.shape, tensor.dtype)
        self.kept: Tensor | None = None
        self.storage = Storage() if storage is None else storage
        self.is_source = self.storage.source is tensor
        self.storage.values += 1

    def keep(self, tensor: Tensor) -> None:
        """Hold on to the data of `tensor`, which has this value."""
        if self.kept is None:
            self.kept = tensor if tensor.requires_grad else tensor.detach()


def storage_of(tensor: Tensor) -> int:
    """Return what tells a tensor's memory from that of others; draws of vmap have none to share."""
    return 0 if is_batchedtensor(tensor) else tensor.untyped_storage()._cdata
