"""Draws by a captured network, in which it is known what is random and what all draws share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.func import vmap

from duda.batches import Batch, rows_of
from duda.graphs import (
    DrawsAsRows,
    Graph,
    NotCaptured,
    Part,
    capture,
    draws_as_rows,
    operator_name,
    settings_of,
    split,
)
from duda.preservation import modes_kept
from duda.sampling.joint import Examples
from duda.sampling.random_calls import Function
from duda.sampling.randomness import HANDLERS, Randomness
from duda.sampling.values import tensors
from duda.streams import Stream, draw_keys

__all__ = ["Captured", "CapturedRunner"]

_LAYERS = {"linear", "conv1d", "conv2d", "conv3d"}
# What takes draws as rows alone, as torch has no rule of vmap for it.
_IN_ROWS = {torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu, F.scaled_dot_product_attention}


class Captured:
    """A network in two parts, of which one is the same for all draws.

    Args:
        network: what is captured, in eval mode.
        x: inputs of the form that it is captured for.
        mode: what is random in it.

    Attributes:
        as_rows: what differs by draw, for draws as rows of one batch; None where that is not known
            to be right.

    Raises:
        NotCaptured: if that cannot be, with the reason.
    """

    def __init__(self, network: nn.Module, x: Batch, mode: Randomness) -> None:
        if not mode.same_weights and not mode.names:
            raise NotCaptured("nobody knows before which of its weights differ by draw")
        self.graph = _captured_as_called(network, x, mode)
        self._names = frozenset(mode.names)
        self._weights = _drawn_weights(self.graph, network, mode.names)
        random = self.graph.random(dropout=mode.turns_dropout_on)
        starts = (*random, *self._weights)
        if not starts:
            raise NotCaptured("nothing in it is random")
        asked = [*random, *_asked_of_mode(self.graph, mode, self._weights)]
        asked += [node for node in self.graph.following(starts) if _function(node) in _IN_ROWS]
        self._asked = {node.target: _function(node) for node in asked}
        _check_random(random)
        self._shared, self._drawn = split(self.graph, starts, asked)
        self.as_rows: DrawsAsRows | None = None
        if not self._weights:
            self.as_rows = _as_rows(self.graph, self._drawn, random)
        self.bytes_per_row = self.graph.bytes_per_row(self._drawn.operators)
        self._settings = settings_of(network)

    def suits(self, network: nn.Module, x: Batch, mode: Randomness) -> bool:
        """Return whether it does what the network does, whatever the values of its weights."""
        same = self._names == frozenset(mode.names) and self.graph.suits(x)
        return same and self._settings == settings_of(network)

    def shared(self, network: nn.Module, x: Batch) -> dict[fx.Node, Any]:
        """Return all values that do not differ by draw, for one pass over the examples."""
        values: dict[fx.Node, Any] = dict(zip(self.graph.inputs, tensors(x), strict=True))
        values |= self.graph.constants
        values |= {node: attrgetter(name)(network) for node, name in self.graph.weights.items()}
        return values | self._shared(values, _nobody)

    def outputs(self, values: Mapping[fx.Node, Any], mode: Randomness, stream: Stream) -> Tensor:
        """Return the outputs of one draw, or of all that vmap hides."""
        mode.stream = stream
        if self._weights:
            with mode:
                drawn = mode.weights(mode.draw)  # type: ignore[attr-defined] # of `DrawnWeights`
            values = {**values, **{node: drawn[name] for node, name in self._weights.items()}}
        outputs: Tensor = self._drawn(values, partial(self._answered, mode))[self.graph.output]
        return outputs

    def outputs_in_rows(
        self, values: Mapping[fx.Node, Any], mode: Randomness, stream: _RowStream
    ) -> Tensor:
        """Return the outputs of several draws `(m, N, ...)`, which are rows of one pass."""
        mode.stream = stream

        def answer(repeated: bool, *call: Any, **kwargs: Any) -> Any:
            stream.repeated = repeated
            return self._answered(mode, *call, **kwargs)

        assert self.as_rows is not None
        return self.as_rows(values, partial(answer, False), partial(answer, True), stream.draws)

    def _answered(self, mode: Randomness, operator: Any, *args: Any, **kwargs: Any) -> Any:
        return mode.__torch_function__(self._asked[operator], (), args, kwargs)


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
        if not self.vmapped:
            return self._draw(numbers[0], keys[0]).unsqueeze(0)
        if self.plan.as_rows is None:
            return vmap(self._draw, randomness="different")(numbers, keys)
        stream = _RowStream(keys, self.examples)
        return self.plan.outputs_in_rows(self._values, self.randomness(), stream)

    def _draw(self, draw: Tensor, key: Tensor) -> Tensor:
        mode = self.randomness()
        mode.draw = draw
        return self.plan.outputs(self._values, mode, Stream(key, self.examples))


class _RowStream(Stream):
    """The random numbers of several draws, all rows of the first before those of the second.

    Attributes:
        draws: how many.
        repeated: whether what is asked for has rows of all of them; otherwise it has those of one,
            and gets the numbers of all on a dimension before.
    """

    def __init__(self, keys: Tensor, examples: Examples | None) -> None:
        super().__init__(keys, None if examples is None else _OfEachDraw(examples))
        self.draws = len(keys)
        self.repeated = False

    def integers(
        self,
        shape: Iterable[int],
        dtype: torch.dtype,
        device: torch.device | None = None,
        change: Callable[[Tensor], Tensor] = lambda numbers: numbers,
    ) -> Tensor:
        """Return the integers of all draws."""
        if not self.repeated:
            return super().integers(shape, dtype, device, change)
        rows, *others = shape
        return super().integers((rows // self.draws, *others), dtype, device, change).flatten(0, 1)


@dataclass(frozen=True)
class _OfEachDraw:
    """What examples share, for several draws at once."""

    examples: Examples

    def drawn(self, call: int, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.examples.drawn(call, shape)

    def spread(self, call: int, drawn: Tensor, shape: tuple[int, ...]) -> Tensor:
        return vmap(lambda each: self.examples.spread(call, each, shape))(drawn)


def _captured_as_called(network: nn.Module, x: Batch, mode: Randomness) -> Graph:
    """Return the graph of a network in which all that is to be random is called."""
    trained = [*mode.trained]
    if mode.turns_dropout_on:  # which layers of attention pass on in train mode alone
        trained += [each for each in network.modules() if isinstance(each, nn.MultiheadAttention)]
    with modes_kept(trained):
        for module in trained:
            module.training = True
        return capture(network, x)


def _drawn_weights(graph: Graph, network: nn.Module, names: Collection[str]) -> dict[fx.Node, str]:
    """Return the nodes of weights that differ by draw, under whichever of their names."""
    drawn = {id(_weight(network, name)): name for name in names}
    own = {node: id(_weight(network, name)) for node, name in graph.weights.items()}
    return {node: drawn[each] for node, each in own.items() if each in drawn}


def _weight(network: nn.Module, name: str) -> Tensor:
    found: Tensor = attrgetter(name)(network)
    return found


def _asked_of_mode(
    graph: Graph, mode: Randomness, weights: Collection[fx.Node]
) -> Iterator[fx.Node]:
    """Yield what reads drawn weights, of which some modes draw what layers make of them."""
    if type(mode).__torch_function__ is Randomness.__torch_function__:
        return
    for node in graph.operators:
        if not set(weights).isdisjoint(node.all_input_nodes):
            yield node


def _check_random(random: Iterable[fx.Node]) -> None:
    for node in random:
        if _function(node) not in HANDLERS:
            raise NotCaptured(
                f"`{operator_name(node)}` cannot have numbers of its own in each draw"
            )


def _function(node: fx.Node) -> Function:
    """Return the function of torch that an operator is, as modes know it, or the operator."""
    name = operator_name(node)
    if getattr(torch.Tensor, name, None) in HANDLERS:
        return getattr(torch.Tensor, name)  # type: ignore[no-any-return]
    for each in (name.removesuffix("_"), name):  # what nobody else reads need not be written to
        for place in (torch, F):
            function = getattr(place, each, None)
            if function in HANDLERS or (place is F and each in _LAYERS):
                return function  # type: ignore[return-value]
    return node.target  # type: ignore[return-value]


def _as_rows(graph: Graph, drawn: Part, random: Collection[fx.Node]) -> DrawsAsRows | None:
    """Return what differs by draw for draws as rows, if all of it has rows where they need be."""
    differs = graph.following(random)
    first = [
        node
        for node in random
        if _broadcasts(_function(node)) and differs.isdisjoint(node.all_input_nodes)
    ]
    try:
        return draws_as_rows(graph, drawn, random, first)
    except NotCaptured:
        return None


def _broadcasts(function: Function) -> bool:
    """Return whether a random function may get numbers with a dimension before its input's."""
    return function not in _IN_ROWS and not function.__name__.endswith("_")


def _nobody(*_: Any) -> Any:
    raise AssertionError("what all draws share asks for no random numbers")
