"""Values that do not depend on the draw: computed in the first pass, remembered for the others.

The network runs once for each chunk of draws, under a mode that sees every call. A call of which
all arguments are known (the input, the weights, and what was computed from these alone) is answered
from memory, whole modules at a time. Only what random calls read is kept: the rest of the trunk is
freed as in any forward pass, and stands in later passes as tensors without data.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import is_batchedtensor
from torch.overrides import TorchFunctionMode

from duda.activations import stored_tensors
from duda.batches import Batch, each_input
from duda.preservation import random_state
from duda.sampling.networks import routed_modules
from duda.sampling.values import (
    Known,
    NotShared,
    Restart,
    Storage,
    Value,
    leaves,
    storage_of,
    tensors,
)
from duda.streams import Stream
from duda.written import written

__all__ = ["Memory"]

_UNSET = (torch.empty, torch.empty_like, torch.Tensor.new_empty)  # something fills these later
_PATIENCE = 2  # restarts after which a network is taken as it is, without memory


class Memory:
    """What earlier passes of a network found out that is the same in every draw.

    Args:
        network: whose modules and calls are watched.
        known: its weights and buffers that are the same in every draw, but for what is swapped.
        vmapped: whether a pass hides its draws in an axis of vmap, so that tensors tell whether
            they depend on the draw; otherwise the random numbers taken tell it.
        same_weights: whether all draws have the same weights. Where not, nothing is known of what
            comes from calls out of sight, unless vmap tells it.

    Attributes:
        on: whether anything is remembered at all.
        drawn_bytes: what the calls of the last pass made that were not shared, for one draw.
        results: what calls of torch and modules returned, and wrote to their argument, as values.
        changing: weights and buffers that the network writes to, by their `id`.
    """

    def __init__(
        self,
        network: nn.Module,
        known: Iterable[Tensor],
        *,
        vmapped: bool,
        same_weights: bool = True,
    ) -> None:
        self.network = network
        self.weights = list(known)
        self.vmapped = vmapped
        self.same_weights = same_weights
        self.on = True
        self.drawn_bytes = 0
        self.changing: set[int] = set()
        self._restarts = 0
        self._forget()

    def _forget(self) -> None:
        self.results: dict[Hashable, tuple[Any, Value | None]] = {}
        self._roots = [
            Value(tensor, Storage(tensor))
            for tensor in self.weights
            if id(tensor) not in self.changing
        ]
        self._inputs: list[Value] | None = None

    @property
    def used(self) -> bool:
        """Whether a pass would be answered from memory."""
        return bool(self.results)

    def restart(self) -> None:
        """Forget all; when it happens again and again, remember nothing any more."""
        self._restarts += 1
        self.on = self.on and self._restarts <= _PATIENCE
        self._forget()

    def run(self, call: Callable[[Batch], Tensor], x: Batch, stream: Stream) -> Tensor:
        """Return `call(x)` of one pass with these random numbers, without what is known of it."""
        aliases = each_input(x, Tensor.detach)
        if not self.on:
            with _Pass(self, stream, Known()) as one_pass:
                outputs = call(each_input(aliases, Tensor.clone))  # which the network may write to
        else:
            one_pass = _Pass(self, stream, self._known(x, aliases))
            with routed_modules(self.network, one_pass.call_module), one_pass:
                first = not self.used
                outputs = call(aliases)
                one_pass.read(outputs, stored_tensors(self.network) if first else ())
        self.drawn_bytes = one_pass.drawn_bytes
        return outputs

    def _known(self, x: Batch, aliases: Batch) -> Known:
        """Return what is known at the start of a pass: inputs, weights and buffers."""
        known = Known()
        if self._inputs is None:
            self._inputs = [Value(alias) for alias in tensors(aliases)]
            for value, tensor in zip(self._inputs, tensors(x), strict=True):
                value.keep(tensor)
        for value, alias in zip(self._inputs, tensors(aliases), strict=True):
            known.add(alias, value)
        for root in self._roots:
            known.add(root.storage.source, root)  # type: ignore[arg-type]
        return known


class _Pass(TorchFunctionMode):
    """Watches one pass of the network, and makes those of its calls that memory has no answer to.

    Args:
        memory: what is known from earlier passes.
        stream: the pass's random numbers.
        known: the tensors whose values are known.
    """

    def __init__(self, memory: Memory, stream: Stream, known: Known) -> None:
        super().__init__()
        self.memory = memory
        self.stream = stream
        self.drawn_bytes = 0
        self._known = known
        self._made: set[Hashable] = set()  # what this pass itself has put into the results
        self._random_calls = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Answer the call from memory, or make it and remember the result if it is shared."""
        kwargs = kwargs or {}
        if not self.memory.on:
            return self._counted(func(*args, **kwargs))
        targets = written(func, args, kwargs)
        if len(targets) > 1:
            self.memory.on = False
            raise Restart("tensors that the network writes to by one call")
        target = targets[0] if targets else None
        try:
            if func in _UNSET:
                raise NotShared
            key = (func, self._known.key(args), self._known.key(kwargs))
        except NotShared:
            return self._run(func, args, kwargs, target)
        if key in self._made:
            return self._repeat(key, func, args, kwargs, target)
        if key in self.memory.results:
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
            self._known.forget(target)
        return self._counted(result)

    def _repeat(self, key: Hashable, func: Any, args: Any, kwargs: Any, target: Any) -> Any:
        """Make a call for a second time in the pass that has made it first, for data of its own."""
        tuple(self._known.shared(args, kwargs))  # which raises where data are missing
        self._unshare(target)
        result = func(*args, **kwargs)
        remembered, wrote = self.memory.results[key]
        if wrote is not None:
            self._known.add(target, wrote)
        for tensor, value in zip(leaves(result), leaves(remembered), strict=True):
            if isinstance(value, Value):
                self._known.add(tensor, value)
        return result

    def _record(self, key: Hashable, func: Any, args: Any, kwargs: Any, target: Any) -> Any:
        """Make a call that seems to be the same in every draw, and remember it if it is."""
        values = list(self._known.shared(args, kwargs))
        before = self._random_state()
        self._unshare(target)
        result = func(*args, **kwargs)
        if self._is_random(result, before):
            self._random_calls += 1
            for value, arg in values:
                if arg is not target:
                    value.keep(arg)
            self._known.forget(target)
            return self._counted(result)
        wrote = None
        if target is not None:
            wrote = Value(target)
            self._known.add(target, wrote)
        storages = {storage_of(arg): value.storage for value, arg in values if arg is not target}
        try:
            self.memory.results[key] = (self._known.remember(result, storages), wrote)
            self._made.add(key)
        except NotShared:
            for value, arg in values:
                value.keep(arg)
        return result

    def _is_random(self, result: Any, before: tuple[Any, ...]) -> bool:
        if self.memory.vmapped:
            return any(is_batchedtensor(tensor) for tensor in tensors(result))
        return before != self._random_state()

    def _random_state(self) -> tuple[Any, ...]:
        """Return what changes with a random call in a loop: under vmap the result tells it."""
        if self.memory.vmapped:
            return ()
        with torch._C.DisableTorchFunction():  # no mode needs to see this
            states = (state.numpy().tobytes() for state in random_state(self.stream.device))
            return len(self.stream.shapes), *states

    def _recall(self, key: Hashable, target: Tensor | None) -> Any:
        """Return a remembered result, as new tensors over the data that were kept."""
        result, wrote = self.memory.results[key]
        if wrote is not None and target is not None:
            # `target` holds what it held before; whoever reads it again makes the pass start anew.
            self._known.add(target, wrote, blank=True)
        return self._known.restore(result)

    def call_module(self, module: nn.Module, call: Any, *args: Any, **kwargs: Any) -> Any:
        """Answer a module's call from memory, or make it."""
        try:
            key: Hashable = (module, self._known.key(args), self._known.key(kwargs))
        except NotShared:
            return call(*args, **kwargs)
        if key in self.memory.results and key not in self._made:
            return self._recall(key, None)
        random_calls = self._random_calls
        result = call(*args, **kwargs)
        try:
            wrote_to_its_arguments = (module, self._known.key(args), self._known.key(kwargs)) != key
        except NotShared:
            wrote_to_its_arguments = True
        if self._random_calls == random_calls and not wrote_to_its_arguments:
            self._adopt(result)
            try:
                self.memory.results[key] = (self._known.remember(result, None), None)
                self._made.add(key)
            except NotShared:
                return result
        return result

    def _adopt(self, result: Any) -> None:
        """Take what calls out of sight made of shared input as shared, where that is certain."""
        for tensor in tensors(result):
            if self.memory.vmapped:
                certain = not is_batchedtensor(tensor)
            else:
                certain = self.memory.same_weights and self._random_calls == 0
            if self._known.value(tensor) is None and certain:
                value = Value(tensor)
                value.keep(tensor)
                self._known.add(tensor, value)

    def read(self, *arguments: Any) -> None:
        """Keep the data of the shared tensors that what differs by draw reads."""
        for value, tensor in self._known.shared(arguments):
            value.keep(tensor)

    def _unshare(self, target: Tensor | None) -> None:
        """Give a shared tensor that is about to be written to data of its own."""
        value = None if target is None else self._known.value(target)
        if value is None or target is None:
            return
        source = value.storage.source
        if source is not None:
            self.memory.changing.add(id(source))
            raise Restart("a weight or buffer that the network writes to")
        if value.storage.values > 1:
            self.memory.on = False
            raise Restart("a tensor that the network writes to through one of several views")
        if value.kept is not None and target.requires_grad:
            value.kept = target.clone()  # autograd knows `target` by its data
        elif value.kept is not None:
            value.kept = target.detach()
            target.data = target.clone()

    def _counted(self, result: Any) -> Any:
        self.drawn_bytes += sum(tensor.nbytes for tensor in tensors(result))
        return result
