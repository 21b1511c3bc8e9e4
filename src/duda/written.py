"""Writes in place: which tensors a call of torch writes to, and weights put back as they were."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["Copies", "WeightGuard", "written"]

_ASSIGNMENTS = {"__setitem__", "__set__", "__iadd__", "__isub__", "__imul__", "__itruediv__"}
_ASSIGNMENTS |= {"__ifloordiv__", "__imod__", "__ipow__", "__iand__", "__ior__", "__ixor__"}
_OPENED = {"numpy", "__array__", "__dlpack__", "data_ptr", "untyped_storage"}  # to other libraries
_EMBEDDINGS = (F.embedding, F.embedding_bag)  # which shrink long vectors in their weight
_COMMON = {torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64}
_COMMON |= {torch.complex128, torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32}
_COMMON |= {torch.int64}
_PLAIN = {Tensor, nn.Parameter, nn.Buffer}


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
        self._saved: dict[int, Copies] = {}
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
                        self._saved[id(each.tensor)] = Copies([each.tensor])
        return func(*args, **kwargs)

    def put_back(self) -> None:
        """Put all weights back: in their places, in their memory, and their values."""
        with torch._C.DisableTorchFunction():
            for module, name, weight in self._places:
                if module._parameters.get(name) is not weight:
                    setattr(module, name, weight)
            for each in self._lying.values():
                each.put_back()
            for copies in self._saved.values():
                copies.put_back()


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
        if self.start is None:
            return
        if self.start != tensor.data_ptr() or tensor.shape != self.shape:
            before = tensor.new_empty(0).set_(self.memory, self.offset, self.shape, self.stride)
            tensor.data = before


class Copies:
    """What tensors hold, copied and written back in one piece for each device and dtype.

    Nobody asks whether it has changed, as that would be to wait for the device.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        each = {id(tensor): tensor for tensor in tensors}.values()
        groups: dict[object, list[Tensor]] = {}
        with torch._C.DisableTorchFunction():
            for tensor in each:
                if tensor.numel() == 0:
                    continue  # it holds nothing, and copies would cost calls
                groups.setdefault(_group(tensor), []).append(_written_once(tensor))
            self._copies = [(group, _copied(group)) for group in groups.values()]

    @torch.no_grad()
    def put_back(self) -> None:
        """Write all back; it counts as no write for autograd."""
        with torch._C.DisableTorchFunction():
            for tensors, copies in self._copies:
                with torch.inference_mode(tensors[0].is_inference()):
                    if len(tensors) == 1:
                        tensors[0].data.copy_(copies[0])
                    else:
                        torch._foreach_copy_([tensor.data for tensor in tensors], copies)


def _group(tensor: Tensor) -> object:
    """Return what tensors share that can be copied as one; others are alone."""
    plain = tensor.layout is torch.strided and type(tensor) in _PLAIN
    if not plain or tensor.dtype not in _COMMON or tensor.is_conj() or tensor.is_neg():
        return id(tensor)
    return tensor.device, tensor.dtype, tensor.is_inference()


def _written_once(tensor: Tensor) -> Tensor:
    """Return the part of an expanded tensor that lies in memory: the rest is the same."""
    if tensor.layout is torch.strided and 0 in tensor.stride():
        for dim, step in enumerate(tensor.stride()):
            tensor = tensor.narrow(dim, 0, 1) if step == 0 and tensor.shape[dim] else tensor
    return tensor


@torch.no_grad()
def _copied(tensors: list[Tensor]) -> list[Tensor]:
    if len(tensors) == 1:
        return [tensors[0].detach().clone()]
    flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


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
