"""Values: what a tensor holds, told apart from others without looking at the data."""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch._C._functorch import is_batchedtensor

from duda.trees import rebuilt

__all__ = ["Known", "NotShared", "Restart", "Storage", "Value", "leaves", "storage_of", "tensors"]

_CONSTANTS = (bool, int, float, complex, str, bytes, type(None), type(...), type)
_CONSTANTS += (torch.dtype, torch.device, torch.layout, torch.memory_format)  # type: ignore[assignment]


class Restart(RuntimeError):
    """Raised inside a pass that cannot use what it remembers: run it again from the start."""


class NotShared(Exception):
    """An argument depends on the draw, or nobody knows where it comes from."""


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


class Known:
    """The tensors of one pass whose values are known, which are those that all draws share.

    A tensor may be blank: it has the shape and the value, but not the data that go with it.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Tensor], Value, bool]] = {}

    def add(self, tensor: Tensor, value: Value, *, blank: bool = False) -> None:
        """Take note that a tensor has this value."""
        self._known[id(tensor)] = (weakref.ref(tensor), value, blank)

    def forget(self, tensor: Tensor | None) -> None:
        """Take note that nobody knows what a tensor holds."""
        self._known.pop(id(tensor), None)

    def value(self, tensor: Tensor) -> Value | None:
        """Return the value of a tensor, if it is known."""
        reference, value, _ = self._known.get(id(tensor), (None, None, False))
        return value if reference is not None and reference() is tensor else None

    def shared(self, *arguments: Any) -> Iterator[tuple[Value, Tensor]]:
        """Yield the tensors in nested arguments whose values are known, with these.

        Raises:
            Restart: if one of them is blank.
        """
        for tensor in tensors(arguments):
            value = self.value(tensor)
            if value is None:
                continue
            if self._known[id(tensor)][2]:
                raise Restart("data that an earlier pass did not keep")
            yield value, tensor

    def key(self, argument: Any) -> Hashable:
        """Return what tells this argument from others.

        Raises:
            NotShared: if it may depend on the draw.
        """
        if isinstance(argument, Tensor):
            value = self.value(argument)
            if value is None:
                raise NotShared
            return value
        if isinstance(argument, _CONSTANTS):
            return (type(argument), argument)
        if isinstance(argument, (tuple, list)):
            return (type(argument), *map(self.key, argument))
        if isinstance(argument, dict):
            return (dict, *((name, self.key(value)) for name, value in argument.items()))
        if isinstance(argument, slice):
            return (slice, *map(self.key, (argument.start, argument.stop, argument.step)))
        raise NotShared

    def remember(self, result: Any, storages: dict[int, Storage] | None) -> Any:
        """Return `result` with values for its tensors; new ones join the storage they lie in."""
        if isinstance(result, Tensor):
            value = self.value(result)
            if value is None:
                if storages is None:
                    raise NotShared
                value = Value(result, storages.get(storage_of(result)))
                self.add(result, value)
            return value
        if isinstance(result, (tuple, list)):
            return rebuilt(result, [self.remember(item, storages) for item in result])
        if type(result) is dict:  # others, such as those of Hugging Face, have attributes too
            return {name: self.remember(item, storages) for name, item in result.items()}
        if isinstance(result, _CONSTANTS):
            return result
        raise NotShared

    def restore(self, result: Any) -> Any:
        """Return what was remembered with tensors for its values, blank where nothing was kept."""
        if isinstance(result, Value):
            if result.is_source:
                return result.storage.source
            if result.kept is None:
                shape, dtype = result.like
                tensor = torch.empty(shape, dtype=dtype, device="meta")
            else:
                tensor = result.kept if result.kept.requires_grad else result.kept.detach()
            self.add(tensor, result, blank=result.kept is None)
            return tensor
        if isinstance(result, (tuple, list)):
            return rebuilt(result, [self.restore(item) for item in result])
        if isinstance(result, dict):
            return {name: self.restore(item) for name, item in result.items()}
        return result


def leaves(tree: Any) -> Iterator[Any]:
    """Yield what is in nested tuples, lists and dictionaries."""
    if isinstance(tree, (tuple, list)):
        for item in tree:
            yield from leaves(item)
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from leaves(item)
    else:
        yield tree


def tensors(tree: Any) -> Iterator[Tensor]:
    """Yield the tensors among them."""
    return (leaf for leaf in leaves(tree) if isinstance(leaf, Tensor))
