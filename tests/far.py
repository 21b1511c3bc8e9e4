"""A device other than the CPU, played by tensors that only say so, and whose traffic is counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

__all__ = ["FAR", "far", "far_device"]

FAR = torch.device("meta")  # on which no kernel runs, so that none runs unseen


class _Far(Tensor):
    """A tensor that has values, and says that it lies on `FAR`."""

    here: Tensor

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, here: Tensor) -> _Far:
        made = torch.Tensor._make_wrapper_subclass(
            cls, here.shape, strides=here.stride(), dtype=here.dtype, device=FAR
        )
        made.here = here
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"{func} met a tensor of the far device outside `far_device`")

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __repr__(self) -> str:
        return f"_Far({self.here!r})"


class _Device(TorchDispatchMode):
    """Runs what is asked of far tensors, but as a GPU does not with those of the CPU.

    Attributes:
        read: bytes that went to the CPU.
        sent: bytes that came from it.
        waits: how often the program waited for a number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.forget()

    def forget(self) -> None:
        self.read = self.sent = self.waits = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name, place = func._schema.name.removeprefix("aten::"), kwargs.get("device")
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        are_far = [isinstance(each, _Far) for each in tensors]
        to_far = place is not None and torch.device(place).type == FAR.type
        if not any(are_far) and not to_far:
            return func(*args, **kwargs)
        if any(each.device == FAR and not isinstance(each, _Far) for each in tensors):
            raise AssertionError(f"{name} met a tensor that was made unseen on the far device")
        others = [each for each in tensors if not isinstance(each, _Far) and each.ndim]
        if any(are_far) and others:
            raise RuntimeError(f"{name}: expected all tensors to be on the same device")
        if to_far:
            kwargs["device"] = "cpu"
        found = func(*tree_map(_here, args), **tree_map(_here, kwargs))
        if name == "_to_copy" and to_far and not any(are_far):
            self.sent += found.nbytes
        if name in ("_local_scalar_dense", "equal", "nonzero"):
            self.waits += 1
            self.read += 8
        if any(are_far) and place is not None and not to_far:
            self.read += found.nbytes
            return found
        return tree_map(lambda each: _Far(each) if isinstance(each, Tensor) else each, found)


def _here(value: Any) -> Any:
    return value.here if isinstance(value, _Far) else value


@contextmanager
def far_device() -> Iterator[_Device]:
    """Let `FAR` work, and count what goes to it and from it.

    >>> with far_device() as device:
    ...     float(far(torch.ones(3)).sum()), device.read, device.sent
    (3.0, 8, 12)
    """
    with _Device() as device:
        yield device


def far(value: Any) -> Any:
    """Return tensors and predictions on the far device, all else as it is."""
    return tree_map(lambda each: each.to(FAR) if hasattr(each, "to") else each, value)
