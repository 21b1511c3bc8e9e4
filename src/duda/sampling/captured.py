"""Draws by a captured network, in which it is known what is random and what all draws share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from operator import attrgetter
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.func import vmap

from duda.batches import Batch, rows_of
from duda.graphs import Graph, NotCaptured, capture, split
from duda.preservation import modes_kept
from duda.sampling.joint import Examples
from duda.sampling.random_calls import Function, Handler
from duda.sampling.randomness import HANDLERS, Randomness
from duda.sampling.values import tensors
from duda.streams import Stream, draw_keys

__all__ = ["CapturedRunner", "capture_asked_for", "captured", "capturing", "forget_captured"]

_wanted: ContextVar[list[nn.Module] | None] = ContextVar("_wanted", default=None)


class Captured:
    """A network in two parts, of which one is the same for all draws.

    Args:
        network: what is captured, in eval mode.
        x: inputs of the form that it is captured for.
        mode: what is random in it.

    Raises:
        NotCaptured: if that cannot be, with the reason.
    """

    def __init__(self, network: nn.Module, x: Batch, mode: Randomness) -> None:
        if not mode.same_weights:
            raise NotCaptured("its weights differ by draw")
        self.graph = _captured_as_called(network, x, mode)
        random = self.graph.random(dropout=mode.turns_dropout_on)
        if not random:
            raise NotCaptured("nothing in it is random")
        self._answers = {node.target: _answer_to(node) for node in random}
        self._shared, self._drawn = split(self.graph, random)
        drawn = sum(map(_bytes, self.graph.following(random)))
        self.bytes_per_row = drawn / rows_of(self.graph.captured_for)
        self._settings = _settings(network)

    def suits(self, network: nn.Module, x: Batch) -> bool:
        """Return whether it does what the network does, whatever the values of its weights."""
        return self.graph.suits(x) and self._settings == _settings(network)

    def shared(self, network: nn.Module, x: Batch) -> dict[fx.Node, Any]:
        """Return all values that do not differ by draw, for one pass over the examples."""
        values: dict[fx.Node, Any] = dict(zip(self.graph.inputs, tensors(x), strict=True))
        values |= self.graph.constants
        values |= {node: attrgetter(name)(network) for node, name in self.graph.weights.items()}
        return values | self._shared(values, _nobody)

    def outputs(self, values: Mapping[fx.Node, Any], mode: Randomness, stream: Stream) -> Tensor:
        """Return the outputs of one draw, or of all that vmap hides."""
        answer = partial(self._answered, mode, stream)
        outputs: Tensor = self._drawn(values, answer)[self.graph.output]
        return outputs

    def _answered(
        self, mode: Randomness, stream: Stream, operator: Any, *args: Any, **kwargs: Any
    ) -> Any:
        function, handler = self._answers[operator]
        return handler(mode, stream, function, args, kwargs)


class CapturedRunner:
    """Runs a captured network for chunks of draws."""

    def __init__(
        self,
        plan: Captured,
        network: nn.Module,
        x: Batch,
        randomness: Callable[[], Randomness],
        seed: int,
        examples: Examples | None,
        *,
        vmapped: bool,
    ) -> None:
        self.plan, self.network, self.x = plan, network, x
        self.randomness, self.seed, self.examples = randomness, seed, examples
        self.vmapped = vmapped
        self.device = next(tensors(x)).device
        self._values = plan.shared(network, x)

    def chunk(self, budget: int) -> int:
        """Return how many draws need as much memory as there is."""
        return max(1, int(budget / max(1, self.plan.bytes_per_row * rows_of(self.x))))

    def run(self, start: int, size: int) -> Tensor:
        """Return `size` draws `(size, N, ...)`, of which the first has the number `start`."""
        numbers = torch.arange(start, start + size, device=self.device)
        keys = draw_keys(self.seed, numbers)
        if self.vmapped:
            return vmap(self._draw, randomness="different")(numbers, keys)
        return self._draw(numbers[0], keys[0]).unsqueeze(0)

    def _draw(self, draw: Tensor, key: Tensor) -> Tensor:
        mode = self.randomness()
        mode.draw = draw
        return self.plan.outputs(self._values, mode, Stream(key, self.examples))


@contextmanager
def capturing() -> Iterator[list[nn.Module]]:
    """While active, networks of which draws are asked are captured instead, and collected."""
    found: list[nn.Module] = []
    token = _wanted.set(found)
    try:
        yield found
    finally:
        _wanted.reset(token)


def capture_asked_for(network: nn.Module, x: Batch, mode: Randomness) -> bool:
    """Capture the network for inputs such as `x`, if that is what draws are asked for.

    Raises:
        NotCaptured: if it cannot be.
    """
    wanted = _wanted.get()
    if wanted is None:
        return False
    _plans.setdefault(network, {})[type(mode)] = Captured(network, x, mode)
    wanted.append(network)
    return True


def forget_captured(networks: Iterable[nn.Module]) -> None:
    """Let draws of networks be made without what was captured."""
    for network in networks:
        _plans.pop(network, None)


def captured(network: nn.Module, x: Batch, mode: Randomness) -> Captured | None:
    """Return the network as it was captured for inputs such as `x`, if it is still the same."""
    plan = _plans.get(network, {}).get(type(mode))
    return plan if plan is not None and plan.suits(network, x) else None


_plans: WeakKeyDictionary[nn.Module, dict[Any, Captured]] = WeakKeyDictionary()


def _captured_as_called(network: nn.Module, x: Batch, mode: Randomness) -> Graph:
    """Return the graph of a network in which all that is to be random is called."""
    trained = [*mode.trained]
    if mode.turns_dropout_on:  # which layers of attention pass on in train mode alone
        trained += [each for each in network.modules() if isinstance(each, nn.MultiheadAttention)]
    with modes_kept(trained):
        for module in trained:
            module.training = True
        return capture(network, x)


def _answer_to(node: fx.Node) -> tuple[Function, Handler]:
    """Return the function of torch that an operator is, and who gives each draw its own."""
    name = node.target._schema.name.removeprefix("aten::")  # type: ignore[union-attr]
    for each in (name.removesuffix("_"), name):  # what nobody else reads need not be written to
        for place in (torch, F, torch.Tensor):
            function = getattr(place, each, None)
            if function in HANDLERS:
                return function, HANDLERS[function]
    raise NotCaptured(f"`{name}` cannot have numbers of its own in each draw")


def _nobody(*_: Any) -> Any:
    raise AssertionError("what all draws share asks for no random numbers")


def _bytes(node: fx.Node) -> int:
    """Return how much memory the result of an operator takes for the batch of the capture."""
    results = node.meta.get("val")
    found = results if isinstance(results, tuple | list) else [results]
    return sum(
        _size(each.shape) * each.dtype.itemsize for each in found if isinstance(each, Tensor)
    )


def _size(shape: Any) -> int:
    size = 1
    for each in shape:
        size *= each.node.hint if isinstance(each, torch.SymInt) else int(each)
    return size


def _settings(network: nn.Module) -> list[Any]:
    """Return what a network does with its weights: modules, their settings, and shapes."""
    found: list[Any] = []
    for module in network.modules():
        found.append(type(module))
        for name, value in vars(module).items():
            if isinstance(value, _PLAIN) and name != "training":
                found.append((name, value))
            elif isinstance(value, tuple | list):
                found.append((name, [each for each in value if isinstance(each, _PLAIN)]))
            elif callable(value):
                found.append((name, id(value)))
        found += [list(module._forward_hooks), list(module._forward_pre_hooks)]
        for weights in (module._parameters, module._buffers):
            found += [
                (name, None if each is None else (each.shape, each.dtype, each.device))
                for name, each in weights.items()
            ]
    return found


_PLAIN = (type(None), bool, int, float, str)
