"""Values that do not depend on the draw: computed in the first pass, remembered for the others.

The network runs once for each chunk of draws, under a mode that sees every call. A call of which
all arguments are known (the input, the weights, and what was computed from these alone) is answered
from memory, whole modules at a time. Only what random calls read is kept: the rest of the trunk is
freed as in any forward pass, and stands in later passes as tensors without data.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_batchedtensor
from torch.overrides import TorchFunctionMode

from duda.batches import Batch, each_input
from duda.sampling.calls import leaves, rebuilt, tensors, written
from duda.sampling.streams import random_state
from duda.sampling.values import Storage, Value, storage_of

__all__ = ["Memory", "Restart"]

_CONSTANTS = (bool, int, float, complex, str, bytes, type(None), type(...), type)
_CONSTANTS += (torch.dtype, torch.device, torch.layout, torch.memory_format)  # type: ignore[assignment]
_UNSET = (torch.empty, torch.empty_like, torch.Tensor.new_empty)  # something fills these later
_PATIENCE = 2  # restarts after which a network is taken as it is, without memory


class Restart(RuntimeError):
    """Raised inside a pass that cannot use what it remembers: run it again from the start."""


class _NotShared(Exception):
    """An argument depends on the draw, or nobody knows where it comes from."""


class Memory(TorchFunctionMode):
    """The calls of earlier passes and their results.

    Args:
        network: whose modules and calls are watched.
        known: its weights and buffers that are the same in every draw, but for what is swapped.
        vmapped: whether a pass hides its draws in an axis of vmap, so that tensors tell whether
            they depend on the draw; otherwise the state of the random generator tells it.
        same_weights: whether all draws have the same weights. Where not, nothing is known of what
            comes from calls out of sight, unless vmap tells it.

    Attributes:
        on: whether anything is remembered at all.
        drawn_bytes: what the calls of the last pass made that were not shared, for one draw.
    """

    def __init__(
        self,
        network: nn.Module,
        known: Iterable[Tensor],
        *,
        vmapped: bool,
        same_weights: bool = True,
    ) -> None:
        super().__init__()
        self.network = network
        self.weights = list(known)
        self.vmapped = vmapped
        self.same_weights = same_weights
        self.on = True
        self.drawn_bytes = 0
        self._changing: set[int] = set()  # weights and buffers that the network writes to
        self._restarts = 0
        self._modules = [
            (module, module.__dict__.get("_compiled_call_impl"))
            for module in network.modules()
            if module is not network and not isinstance(module, torch.jit.ScriptModule)
        ]
        self._forget()

    def _forget(self) -> None:
        self._results: dict[Hashable, tuple[Any, Value | None]] = {}
        self._roots = [
            Value(tensor, Storage(tensor))
            for tensor in self.weights
            if id(tensor) not in self._changing
        ]
        self._inputs: list[Value] | None = None

    @property
    def used(self) -> bool:
        """Whether a pass would be answered from memory."""
        return bool(self._results)

    def restart(self) -> None:
        """Forget all; when it happens again and again, remember nothing any more."""
        self._restarts += 1
        self.on = self.on and self._restarts <= _PATIENCE
        self._forget()

    @contextmanager
    def one_pass(self, x: Batch) -> Iterator[Batch]:
        """Watch one pass of the network, and yield the input to give it."""
        self.drawn_bytes = 0
        self._random_calls = 0
        self._made: set[Hashable] = set()  # what this pass itself has put into the results
        self._known: dict[int, tuple[weakref.ref[Tensor], Value, bool]] = {}
        self._device = next(tensors(x)).device
        aliases = each_input(x, Tensor.detach)
        if not self.on:
            with self:
                yield each_input(aliases, Tensor.clone)  # which the network may write to
            return
        if self._inputs is None:
            self._inputs = [Value(alias) for alias in tensors(aliases)]
            for value, tensor in zip(self._inputs, tensors(x), strict=True):
                value.keep(tensor)
        for value, alias in zip(self._inputs, tensors(aliases), strict=True):
            self._know(alias, value)
        for root in self._roots:
            self._know(root.storage.source, root)  # type: ignore[arg-type]
        with self._watched_modules(), self:
            yield aliases

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Answer the call from memory, or make it and remember the result if it is shared."""
        kwargs = kwargs or {}
        if not self.on:
            return self._counted(func(*args, **kwargs))
        target = written(func, args, kwargs)
        try:
            if func in _UNSET:
                raise _NotShared
            key = (func, self._key(args), self._key(kwargs))
        except _NotShared:
            return self._run(func, args, kwargs, target)
        if key in self._made:
            return self._repeat(key, func, args, kwargs, target)
        if key in self._results:
            return self._recall(key, target)
        return self._record(key, func, args, kwargs, target)

    def _run(self, func: Any, args: Any, kwargs: Any, target: Tensor | None) -> Any:
        """Make a call that differs by draw."""
        self.read(args, kwargs)
        self._unshare(target)
        before = self._random_state()
        result = func(*args, **kwargs)
        if before != self._random_state():
            self._random_calls += 1
        if target is not None:
            self._known.pop(id(target), None)
        return self._counted(result)

    def _repeat(self, key: Hashable, func: Any, args: Any, kwargs: Any, target: Any) -> Any:
        """Make a call for a second time in the pass that has made it first, for data of its own."""
        self._check_data(args, kwargs)
        self._unshare(target)
        result = func(*args, **kwargs)
        remembered, wrote = self._results[key]
        if wrote is not None:
            self._know(target, wrote)
        for tensor, value in zip(leaves(result), leaves(remembered), strict=True):
            if isinstance(value, Value):
                self._know(tensor, value)
        return result

    def _check_data(self, *arguments: Any) -> None:
        if any(self._known[id(arg)][2] for arg in tensors(arguments)):
            raise Restart("data that an earlier pass did not keep")

    def _record(self, key: Hashable, func: Any, args: Any, kwargs: Any, target: Any) -> Any:
        """Make a call that seems to be the same in every draw, and remember it if it is."""
        self._check_data(args, kwargs)
        values = [(self._known[id(arg)][1], arg) for arg in tensors((args, kwargs))]
        before = self._random_state()
        if target is not None:
            self._unshare(target)
        result = func(*args, **kwargs)
        if self._is_random(result, before):
            self._random_calls += 1
            for value, arg in values:
                if arg is not target:
                    value.keep(arg)
            self._known.pop(id(target), None)
            return self._counted(result)
        wrote = None
        if target is not None:
            wrote = Value(target)
            self._know(target, wrote)
        storages = {storage_of(arg): value.storage for value, arg in values if arg is not target}
        try:
            self._results[key] = (self._remember(result, storages), wrote)
            self._made.add(key)
        except _NotShared:
            for value, arg in values:
                value.keep(arg)
        return result

    def _is_random(self, result: Any, before: list[bytes]) -> bool:
        if self.vmapped:
            return any(is_batchedtensor(tensor) for tensor in tensors(result))
        return before != self._random_state()

    def _random_state(self) -> list[bytes]:
        """Return the generators' state where it tells what is random: nothing under vmap."""
        if self.vmapped:
            return []
        with torch._C.DisableTorchFunction():  # no mode needs to see this
            return [state.numpy().tobytes() for state in random_state(self._device)]

    def _recall(self, key: Hashable, target: Tensor | None) -> Any:
        """Return a remembered result, as new tensors over the data that were kept."""
        result, wrote = self._results[key]
        if wrote is not None and target is not None:
            # `target` holds what it held before; whoever reads it again makes the pass start anew.
            self._know(target, wrote, blank=True)
        return self._restore(result)

    def _call_module(self, module: nn.Module, call: Any, *args: Any, **kwargs: Any) -> Any:
        """Answer a module's call from memory, or make it."""
        try:
            key: Hashable = (module, self._key(args), self._key(kwargs))
        except _NotShared:
            return call(*args, **kwargs)
        if key in self._results and key not in self._made:
            return self._recall(key, None)
        random_calls = self._random_calls
        result = call(*args, **kwargs)
        try:
            wrote_to_its_arguments = (module, self._key(args), self._key(kwargs)) != key
        except _NotShared:
            wrote_to_its_arguments = True
        if self._random_calls == random_calls and not wrote_to_its_arguments:
            self._adopt(result)
            try:
                self._results[key] = (self._remember(result, None), None)
                self._made.add(key)
            except _NotShared:
                return result
        return result

    def _adopt(self, result: Any) -> None:
        """Take what calls out of sight made of shared input as shared, where that is certain."""
        for tensor in tensors(result):
            if self.vmapped:
                certain = not is_batchedtensor(tensor)
            else:
                certain = self.same_weights and self._random_calls == 0
            if self._value(tensor) is None and certain:
                value = Value(tensor)
                value.keep(tensor)
                self._know(tensor, value)

    @contextmanager
    def _watched_modules(self) -> Iterator[None]:
        """Route the calls of all modules below the network through `_call_module`."""
        try:
            for module, compiled in self._modules:
                call = partial(self._call_module, module, compiled or module._call_impl)
                # Not by the module's own way of setting attributes, which takes its time.
                module.__dict__["_compiled_call_impl"] = call
            yield
        finally:
            for module, compiled in self._modules:
                if compiled is None:
                    module.__dict__.pop("_compiled_call_impl", None)
                else:
                    module.__dict__["_compiled_call_impl"] = compiled

    def _know(self, tensor: Tensor, value: Value, *, blank: bool = False) -> None:
        self._known[id(tensor)] = (weakref.ref(tensor), value, blank)

    def _value(self, tensor: Tensor) -> Value | None:
        reference, value, _ = self._known.get(id(tensor), (None, None, False))
        return value if reference is not None and reference() is tensor else None

    def _key(self, argument: Any) -> Hashable:
        """Return what tells this argument from others, or raise if it may depend on the draw."""
        if isinstance(argument, Tensor):
            value = self._value(argument)
            if value is None:
                raise _NotShared
            return value
        if isinstance(argument, _CONSTANTS):
            return (type(argument), argument)
        if isinstance(argument, (tuple, list)):
            return (type(argument), *map(self._key, argument))
        if isinstance(argument, dict):
            return (dict, *((name, self._key(value)) for name, value in argument.items()))
        if isinstance(argument, slice):
            return (slice, *map(self._key, (argument.start, argument.stop, argument.step)))
        raise _NotShared

    def read(self, *arguments: Any) -> None:
        """Keep the data of the shared tensors that what differs by draw reads."""
        for tensor in tensors(arguments):
            reference, value, blank = self._known.get(id(tensor), (None, None, False))
            if value is None or reference is None or reference() is not tensor:
                continue
            if blank:
                raise Restart("data that an earlier pass did not keep")
            value.keep(tensor)

    def _unshare(self, target: Tensor | None) -> None:
        """Give a shared tensor that is about to be written to data of its own."""
        value = None if target is None else self._value(target)
        if value is None or target is None:
            return
        source = value.storage.source
        if source is not None:
            self._changing.add(id(source))
            raise Restart("a weight or buffer that the network writes to")
        if value.storage.values > 1:
            self.on = False
            raise Restart("a tensor that the network writes to through one of several views")
        if value.kept is not None and target.requires_grad:
            value.kept = target.clone()  # autograd knows `target` by its data
        elif value.kept is not None:
            value.kept = target.detach()
            target.data = target.clone()

    def _remember(self, result: Any, storages: dict[int, Storage] | None) -> Any:
        """Return `result` with values for its tensors; new ones join the storage they lie in."""
        if isinstance(result, Tensor):
            value = self._value(result)
            if value is None:
                if storages is None:
                    raise _NotShared
                value = Value(result, storages.get(storage_of(result)))
                self._know(result, value)
            return value
        if isinstance(result, (tuple, list)):
            return rebuilt(result, [self._remember(item, storages) for item in result])
        if type(result) is dict:  # others, such as those of Hugging Face, have attributes too
            return {name: self._remember(item, storages) for name, item in result.items()}
        if isinstance(result, _CONSTANTS):
            return result
        raise _NotShared

    def _restore(self, result: Any) -> Any:
        """Return a remembered result with tensors for its values."""
        if isinstance(result, Value):
            if result.is_source:
                return result.storage.source
            if result.kept is None:
                shape, dtype = result.like
                tensor = torch.empty(shape, dtype=dtype, device="meta")
            else:
                tensor = result.kept if result.kept.requires_grad else result.kept.detach()
            self._know(tensor, result, blank=result.kept is None)
            return tensor
        if isinstance(result, (tuple, list)):
            return rebuilt(result, [self._restore(item) for item in result])
        if isinstance(result, dict):
            return {name: self._restore(item) for name, item in result.items()}
        return result

    def _counted(self, result: Any) -> Any:
        self.drawn_bytes += sum(tensor.nbytes for tensor in tensors(result))
        return result
