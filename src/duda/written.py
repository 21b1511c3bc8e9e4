"""Writes in place: which tensors a call of torch writes to, and weights put back as they were."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["WeightGuard", "restore", "written"]

_ASSIGNMENTS = {"__setitem__", "__set__", "__iadd__", "__isub__", "__imul__", "__itruediv__"}
_ASSIGNMENTS |= {"__ifloordiv__", "__imod__", "__ipow__", "__iand__", "__ior__", "__ixor__"}
_OPENED = {"numpy", "__array__", "__dlpack__", "data_ptr", "untyped_storage"}  # to other libraries
_EMBEDDINGS = (F.embedding, F.embedding_bag)  # which shrink long vectors in their weight
_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def written(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> list[Tensor]:
    """Return the tensors that `func` writes to in place.

    >>> x = torch.zeros(2)
    >>> written(torch.Tensor.add_, (x, 1), {})[0] is x, written(torch.add, (x, 1), {})
    (True, [])
    >>> len(written(torch._foreach_add_, ([x, x], 1), {}))
    2
    """
    out = kwargs.get("out")
    if out is not None:
        return _tensors(out)
    name = getattr(func, "__name__", "")
    place = _inplace_position(func)
    asked = kwargs.get("inplace", place is not None and len(args) > place and args[place])
    if asked or name in _ASSIGNMENTS or (name.endswith("_") and name[-2:] != "__"):
        return _tensors(args[0] if args else kwargs.get("input", kwargs.get("tensor")))
    return []


def _tensors(target: Any) -> list[Tensor]:
    several = target if isinstance(target, (list, tuple)) else [target]
    return [each for each in several if isinstance(each, Tensor)]


@lru_cache(maxsize=1024)
def _inplace_position(func: Callable[..., Any]) -> int | None:
    """Return where `func` takes its argument `inplace`, if it has one."""
    if not inspect.isfunction(func):  # those of C end in an underscore instead
        return None
    names = list(inspect.signature(func, follow_wrapped=False).parameters)
    return names.index("inplace") if "inplace" in names else None


class WeightGuard(TorchFunctionMode):
    """Copies a weight before the first call that may write to it; the others cost nothing.

    Args:
        model: whose weights, and buffers, `put_back` leaves as they were.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._saved: dict[int, tuple[Tensor, Tensor]] = {}
        self._lying = {id(each): _Lying(each) for each in (*model.parameters(), *model.buffers())}
        self._sharing: dict[int, list[_Lying]] = {}
        for each in self._lying.values():
            self._sharing.setdefault(_memory(each.tensor), []).append(each)
        self._places = [
            (module, name, weight)
            for module in model.modules()
            if not isinstance(module, torch.jit.ScriptModule)
            for name, weight in module._parameters.items()
            if weight is not None
        ]

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `func`, after saving the weights that it may write to."""
        kwargs = kwargs or {}
        for target in _touched(func, args, kwargs):
            if not torch._C._functorch.is_functorch_wrapped_tensor(target):
                for each in self._sharing.get(_memory(target), ()):
                    if id(each.tensor) not in self._saved:
                        self._saved[id(each.tensor)] = each.tensor, each.tensor.detach().clone()
        return func(*args, **kwargs)

    def put_back(self) -> None:
        """Put all weights back: in their places, in their memory, and their values."""
        with torch._C.DisableTorchFunction():
            for module, name, weight in self._places:
                if module._parameters.get(name) is not weight:
                    setattr(module, name, weight)
            for each in self._lying.values():
                each.put_back()
            for tensor, content in self._saved.values():
                restore(tensor, content)


class _Lying:
    """Where a tensor lies, which calls such as `set_` change and no mode gets to see."""

    __slots__ = ("memory", "offset", "shape", "start", "stride", "tensor")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.start = None
        if tensor.layout is torch.strided and not tensor.is_quantized:
            self.start = tensor.data_ptr()
            self.memory, self.offset = tensor.untyped_storage(), tensor.storage_offset()
            self.shape, self.stride = tensor.shape, tensor.stride()

    def put_back(self) -> None:
        """Let the tensor lie there again."""
        tensor = self.tensor
        if self.start not in (None, tensor.data_ptr()) or tensor.shape != self.shape:
            before = tensor.new_empty(0).set_(self.memory, self.offset, self.shape, self.stride)
            tensor.data = before


def restore(tensor: Tensor, content: Tensor) -> None:
    """Write `content` into `tensor` if it holds anything else, such as 0.0 for -0.0."""
    if not torch.equal(_bits(tensor), _bits(content)):
        tensor.data.copy_(content)


def _touched(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Iterator[Tensor]:
    """Yield the tensors that a call writes to, also in ways that its name does not tell."""
    yield from written(func, args, kwargs)
    if func in _EMBEDDINGS:
        max_norm = args[3] if len(args) > 3 else kwargs.get("max_norm")
        if max_norm is not None:
            yield args[1] if len(args) > 1 else kwargs["weight"]
    elif getattr(func, "__name__", "") in _OPENED:
        yield args[0]


def _memory(tensor: Tensor) -> int:
    """Return where the memory of a tensor begins, however much of it is the tensor's."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):  # as of sparse ones
        return id(tensor)


def _bits(tensor: Tensor) -> Tensor:
    """Return a view in which only equal bits are equal."""
    tensor = tensor.detach()
    if tensor.layout is not torch.strided or tensor.is_quantized:
        return tensor
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return tensor.view(_INTEGERS[tensor.element_size()]) if tensor.is_floating_point() else tensor
