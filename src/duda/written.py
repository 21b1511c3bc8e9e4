"""Writes in place: which tensors a call of torch writes to, and weights put back as they were."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, Token
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.overrides import TorchFunctionMode

from duda.harmless import PLAIN_TENSORS
from duda.inside import modules_in

__all__ = ["Copies", "GuardingMode", "guarded", "guarding", "habit_of", "written"]

_ASSIGNMENTS = {"__setitem__", "__set__", "__iadd__", "__isub__", "__imul__", "__itruediv__"}
_ASSIGNMENTS |= {"__ifloordiv__", "__imod__", "__ipow__", "__iand__", "__ior__", "__ixor__"}
_OPENED = {"numpy", "__array__", "__dlpack__", "data_ptr", "untyped_storage"}  # to other libraries
_EMBEDDINGS = (F.embedding, F.embedding_bag)  # which shrink long vectors in their weight
_COMMON = {torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64}
_COMMON |= {torch.complex128, torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32}
_COMMON |= {torch.int64}


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
    habit = habit_of(func)
    if habit is None and "inplace" not in kwargs:
        return []
    if isinstance(func, OpOverload):
        return _written_by_operator(func, args, kwargs)
    always, place, _ = habit or _HARMLESS
    asked = kwargs.get("inplace", place is not None and len(args) > place and args[place])
    if always or asked:
        return _tensors(args[0] if args else kwargs.get("input", kwargs.get("tensor")))
    return []


def _tensors(target: Any) -> list[Tensor]:
    several = target if isinstance(target, (list, tuple)) else [target]
    return [each for each in several if isinstance(each, Tensor)]


def _written_by_operator(operator: OpOverload, args: Any, kwargs: dict[str, Any]) -> list[Tensor]:
    found: list[Tensor] = []
    for place, each in enumerate(operator._schema.arguments):
        if each.alias_info is not None and each.alias_info.is_write:
            found += _tensors(args[place] if place < len(args) else kwargs.get(each.name))
    return found


class _Habit(NamedTuple):
    """What a function may write to besides `out`.

    Attributes:
        always: whether that is its first argument in any case.
        inplace: where it takes its argument `inplace`, if it has one.
        opens: whether it writes to a weight, or opens it to other libraries, in ways of its own.
    """

    always: bool
    inplace: int | None
    opens: bool


_HARMLESS = _Habit(always=False, inplace=None, opens=False)


@lru_cache(maxsize=1024)
def habit_of(func: Callable[..., Any]) -> _Habit | None:
    """Return what a function may write to, None if it is nothing."""
    name = getattr(func, "__name__", "")
    always = name in _ASSIGNMENTS or (name.endswith("_") and name[-2:] != "__")
    names: list[str] = []
    if isinstance(func, OpOverload):
        always = func._schema.is_mutable
    elif inspect.isfunction(func):  # those of C end in an underscore instead
        names = list(inspect.signature(func, follow_wrapped=False).parameters)
    inplace = names.index("inplace") if "inplace" in names else None
    found = _Habit(always, inplace, func in _EMBEDDINGS or name in _OPENED)
    return None if found == _HARMLESS else found


class WeightGuard(TorchFunctionMode):
    """Copies a weight before the first call that may write to it; the others cost nothing.

    Args:
        model: whose weights, and buffers, `put_back` leaves as they were.
        outer: a guard of other weights, which watches no calls meanwhile.
    """

    def __init__(self, model: nn.Module, outer: WeightGuard | None = None) -> None:
        super().__init__()
        self.outer = outer
        self._saved: dict[int, Copies] = {}
        self._places: list[tuple[nn.Module, str, Tensor | None]] = []
        found: list[Tensor | None] = []
        for module in modules_in(model):
            found += module._buffers.values()
            weights = module._parameters
            if weights:
                found += weights.values()
                if not isinstance(module, torch.jit.ScriptModule):
                    self._places += [(module, *each) for each in weights.items()]
        self._kept = [each for each in found if each is not None]
        # Calls such as `set_`, which no mode gets to see, change where a tensor lies.
        self._lying = [
            (
                each,
                each.data_ptr(),
                each.shape,
                each.untyped_storage(),
                each.storage_offset(),
                each.stride(),
            )
            for each in self._kept
            if _has_strides(each)
        ]

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `func`, after saving the weights that it may write to."""
        kwargs = kwargs or {}
        self.note(func, args, kwargs)
        return func(*args, **kwargs)

    def note(self, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> None:
        """Save the weights that a call may write to."""
        if habit_of(func) is not None or "out" in kwargs or "inplace" in kwargs:
            for target in _touched(func, args, kwargs):
                if not torch._C._functorch.is_functorch_wrapped_tensor(target):
                    self._save(_memory(target))

    def _save(self, memory: int) -> None:
        for tensor in self._sharing.get(memory, ()):
            if id(tensor) not in self._saved:
                self._saved[id(tensor)] = Copies([tensor])
        if self.outer is not None:
            self.outer._save(memory)

    @cached_property
    def _sharing(self) -> dict[int, list[Tensor]]:
        """The tensors by the memory that they lay in at the start."""
        found: dict[int, list[Tensor]] = {}
        for tensor, _, _, memory, *_ in self._lying:
            found.setdefault(memory.data_ptr(), []).append(tensor)
        for tensor in self._kept:
            if not _has_strides(tensor):
                found.setdefault(_memory(tensor), []).append(tensor)
        return found

    def put_back(self) -> None:
        """Put all weights back: in their places, in their memory, and their values."""
        with torch._C.DisableTorchFunction():
            for module, name, weight in self._places:
                if module._parameters.get(name) is not weight:
                    setattr(module, name, weight)
            for tensor, start, shape, memory, offset, stride in self._lying:
                if start != tensor.data_ptr() or shape != tensor.shape:
                    tensor.data = tensor.new_empty(0).set_(memory, offset, shape, stride)
            for copies in self._saved.values():
                copies.put_back()


# Of the prediction that runs now, while nothing watches the calls for it.
_waiting: ContextVar[WeightGuard | None] = ContextVar("_waiting", default=None)


@contextmanager
def guarding(model: nn.Module) -> Iterator[None]:
    """Leave the weights of a model as they were, to which calls within `guarded` may write."""
    guard = WeightGuard(model, _waiting.get())
    token = _waiting.set(guard)
    try:
        yield
    finally:
        _waiting.reset(token)
        guard.put_back()


def guarded() -> AbstractContextManager[None]:
    """Watch calls that may write to weights: those of a network that somebody else wrote."""
    guard = _waiting.get()
    return _NOTHING if guard is None else _watched_by(guard)


_NOTHING = nullcontext()


@contextmanager
def _watched_by(guard: WeightGuard) -> Iterator[None]:
    token = _waiting.set(None)
    try:
        with guard:
            yield
    finally:
        _waiting.reset(token)


class GuardingMode(TorchFunctionMode):
    """A mode that watches calls for the guard of weights, too, as two modes take twice the time.

    Attributes:
        guard: whom it tells of each call, if anybody.
    """

    def __init__(self) -> None:
        super().__init__()
        self.guard: WeightGuard | None = None
        self._tokens: list[Token[WeightGuard | None]] = []

    def __enter__(self) -> Self:
        self.guard = _waiting.get() or self.guard
        self._tokens.append(_waiting.set(None))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        _waiting.reset(self._tokens.pop())
        if not self._tokens:
            self.guard = None


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
    plain = tensor.layout is torch.strided and type(tensor) in PLAIN_TENSORS
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


def _has_strides(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor.is_quantized


def _memory(tensor: Tensor) -> int:
    """Return where the memory of a tensor begins, however much of it is the tensor's."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (NotImplementedError, RuntimeError):  # as of sparse ones
        return id(tensor)
