"""Passes of a network that is watched: which of its modules make random calls, and what comes."""

from __future__ import annotations

import pickle
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from duda.batches import Batch
from duda.outputs import called
from duda.preservation import others_seeded, preserved, random_state
from duda.sampling import HiddenDropout, Stream, draw_key, tensors
from duda.uncompiled import as_written

__all__ = ["LEVELS", "Pass", "WatchedNetwork"]

LEVELS = ("low", "middle", "high")  # of the random numbers of a pass, which are all the same
_TAIL = 2.0**-12  # the probability of less than what is called low
_SIGMAS = 3.5
_CALLS = 64  # for the mean of what a module puts out
_FLAGS = {F.batch_norm: "training", F.instance_norm: "use_input_stats"}  # their sixth argument
_SOURCES = ("torch", "numpy", "Python")


@dataclass
class Pass:
    """What was seen of a pass.

    Attributes:
        outputs: the floating-point tensors that came out.
        random: how many random calls each module made itself, by its name and the library's.
        stacks: by name, the modules that were being called when it made them, itself last.
        calls: by name, the arguments of a module's first call.
        changed: the names of the buffers that were written to.
        statistics: how many normalizations used the statistics of the batch.
    """

    outputs: list[Tensor] = field(default_factory=list)
    random: Counter[tuple[str, str]] = field(default_factory=Counter)
    stacks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    calls: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    statistics: int = 0


class WatchedNetwork:
    """A network with a few inputs, in a copy that shares its weights, so that it stays as it is.

    Args:
        network: a network; where it cannot be copied, it runs itself.
        x: the inputs.
    """

    def __init__(self, network: nn.Module, x: Batch) -> None:
        self.x = x
        self.device = next(tensors(x)).device
        try:
            self.network = deepcopy(network, {id(each): each for each in network.parameters()})
        except Exception:  # such as of activations that it has kept
            self.network = network
        self._modules = dict(self.network.named_modules())

    @as_written()
    def run(self, trained: Iterable[str], level: str) -> Pass:
        """Return what is seen of a pass with some modules in train mode and constants for numbers.

        Args:
            trained: the modules' names.
            level: at which end of their law random numbers are; masks keep all, and scale it at the
                high end.
        """
        stream = _Constant(level, self.device)
        mode, notes = _Watching(stream), _Notes(stream)
        with self._in_modes(trained, 0):
            before = [(name, each, each.clone()) for name, each in self.network.named_buffers()]
            with mode, notes.taken(self.network):
                outputs = called(self.network, _copied(self.x))
            changed = {name for name, each, old in before if not torch.equal(each, old)}
        seen = notes.seen
        seen.outputs, seen.changed, seen.statistics = _floating(outputs), changed, mode.statistics
        return seen

    def outputs_of(
        self, name: str, seen: Pass, trained: Sequence[str]
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield what a module puts out in eval mode, and mean and std with some in train mode."""
        module = self._modules[name]
        args, kwargs = seen.calls.get(name, ((), {}))
        found = []
        for number in range(_CALLS + 1):
            key = torch.tensor(draw_key(0, number), device=self.device)
            with self._in_modes(trained if number else (), number), _Watching(Stream(key)):
                if name:
                    outputs = module(*_copied(args), **_copied(kwargs))
                else:
                    outputs = called(module, _copied(self.x))
            found.append(_floating(outputs))
        for one, *draws in zip(*found, strict=True):
            std, mean = torch.std_mean(torch.stack(draws).double(), 0)
            yield one.double(), mean, std

    @contextmanager
    def _in_modes(self, trained: Iterable[str], seed: int) -> Iterator[None]:
        """Put the network in eval mode, some of it in train mode, and all back at the end."""
        with preserved(self.network, seed), others_seeded(None):
            for name in trained:
                self._modules[name].training = True
            yield


class _Notes:
    """Takes notes of a pass: a random call is the innermost module's that is being called."""

    def __init__(self, stream: Stream) -> None:
        self.seen = Pass()
        self.stream = stream
        self._stack = [""]
        self._calls = 0
        self._states: tuple[Any, ...] = ()

    @contextmanager
    def taken(self, network: nn.Module) -> Iterator[None]:
        """Take notes for as long as it lasts."""
        with ExitStack() as hooks:
            for name, module in network.named_modules():
                if name and not isinstance(module, torch.jit.ScriptModule):
                    enter = partial(self._enter, name)
                    hooks.enter_context(
                        module.register_forward_pre_hook(enter, prepend=True, with_kwargs=True)
                    )
                    hooks.enter_context(module.register_forward_hook(self._leave))
            self._states = self._now()
            yield
            self._settle()

    def _enter(self, name: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        self._settle()
        self._stack.append(name)
        if name not in self.seen.calls:
            self.seen.calls[name] = _copied((args, kwargs))

    def _leave(self, module: nn.Module, args: Any, outputs: Any) -> None:
        self._settle()
        self._stack.pop()

    def _settle(self) -> None:
        """Write the random calls since the last time down to the module that made them."""
        now = self._now()
        made = len(self.stream.shapes) - self._calls
        for source, before, after in zip(_SOURCES, self._states, now, strict=True):
            count = int(before != after) + (made if source == "torch" else 0)
            if count:
                self.seen.random[self._stack[-1], source] += count
                self.seen.stacks.setdefault(self._stack[-1], tuple(self._stack))
        self._states, self._calls = now, len(self.stream.shapes)

    def _now(self) -> tuple[Any, ...]:
        """Return the states of the generators, of which the stream knows nothing."""
        with torch._C.DisableTorchFunction():
            own = [state.numpy().tobytes() for state in random_state(self.stream.device)]
        return own, pickle.dumps(np.random.get_state()), random.getstate()  # noqa: NPY002


class _Watching(HiddenDropout):
    """Dropout that counts the normalizations that use the statistics of the batch."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self.stream = stream
        self.statistics = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `func`, or what gives it the random numbers of the pass."""
        if func in _FLAGS:
            given = args[5] if len(args) > 5 else (kwargs or {}).get(_FLAGS[func])
            self.statistics += bool(given)
        return super().__torch_function__(func, types, args, kwargs)


class _Constant(Stream):
    """Random numbers that are all the same."""

    def __init__(self, level: str, device: torch.device) -> None:
        super().__init__(torch.zeros((), dtype=torch.int64, device=device))
        self._place = LEVELS.index(level)

    def chance(self, p: float) -> float:
        """Return the probability of masks that keep all, whether or not they scale it."""
        return p if LEVELS[self._place] == "high" else 0.0

    def integers(
        self,
        shape: Iterable[int],
        dtype: torch.dtype,
        device: torch.device | None = None,
        change: Callable[[Tensor], Tensor] = lambda numbers: numbers,
    ) -> Tensor:
        """Return the lowest integer, one in the middle, or the highest."""
        low, high = torch.iinfo(dtype).min, torch.iinfo(dtype).max
        return change(self._one_of((low, (low + high + 1) // 2, high), shape, dtype, device))

    def uniform(
        self,
        shape: Iterable[int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> Tensor:
        """Return what is next to 0, one half, or what is next to 1."""
        return self._one_of((_TAIL, 0.5, 1 - _TAIL), shape, dtype, device)

    def normal(
        self,
        shape: Iterable[int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> Tensor:
        """Return a number far below 0, 0, or one far above."""
        return self._one_of((-_SIGMAS, 0.0, _SIGMAS), shape, dtype, device)

    def _one_of(
        self,
        values: Sequence[float],
        shape: Iterable[int],
        dtype: torch.dtype,
        device: torch.device | None,
    ) -> Tensor:
        self.shapes.append(tuple(shape))
        return torch.full(self.shapes[-1], values[self._place], dtype=dtype, device=device)


def _copied(given: Any) -> Any:
    """Return arguments that a network may write to."""
    return tree_map_only(Tensor, Tensor.clone, given)


def _floating(outputs: Any) -> list[Tensor]:
    """Return the floating-point tensors among outputs, or the logits that stand for them."""
    found = tensors(getattr(outputs, "logits", outputs))
    return [each.detach() for each in found if each.is_floating_point()]
