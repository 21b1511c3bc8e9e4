"""Draws by a captured network, in which it is known what is random and what all draws share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
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
    program,
    settings_of,
    split,
    writes_to_others,
)
from duda.preservation import modes_kept
from duda.sampling.calls import ATTENTION, HANDLERS, RECURRENT, Function
from duda.sampling.joint import Examples
from duda.sampling.randomness import Randomness
from duda.sampling.tiles import memory_for
from duda.streams import RowStream, Stream, draw_keys
from duda.transfer import sent
from duda.trees import tensors
from duda.written import guarded

__all__ = ["Captured", "CapturedRunner"]

_log = logging.getLogger(__name__)
_PROGRAMS = 8  # of a plan: one for each number of rows and draws

_LAYERS = {"linear", "conv1d", "conv2d", "conv3d"}
# What takes draws as rows alone, as torch has no rule of vmap for it.
_IN_ROWS = (ATTENTION | RECURRENT).keys()


class Captured:
    """A network in two parts, of which one is the same for all draws.

    Args:
        network: what is captured, in eval mode.
        x: inputs of the form that it is captured for.
        mode: what is random in it.

    Attributes:
        as_rows: what differs by draw, for draws as rows of one batch; None where that is not known
            to be right.
        writes: whether it writes to weights, or to its inputs.
        not_compiled: why its parts run as they are; None if they are compiled where they can be.

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
        self.not_compiled: str | None = "nobody has asked for it"
        self._programs: dict[Hashable, Function] = {}
        self.writes = writes_to_others(self.graph)
        self._settings = settings_of(network)

    def compile(self) -> None:
        """Let its parts be compiled, each at its first use with tensors of such shapes.

        Raises:
            NotCaptured: if its weights differ by draw, in ways that no program knows.
        """
        if self._weights:
            raise NotCaptured("weights that differ by draw are part of no program")
        self.not_compiled = None

    def program(
        self, key: Hashable, function: Function, given: list[Tensor], rows: int
    ) -> Function:
        """Return a function of tensors, compiled if that is asked for, and works."""
        if self.not_compiled is not None:
            return function
        shapes = tuple((each.shape, each.dtype, each.device) for each in given)
        found = self._programs.get((key, shapes))
        if found is None and len(self._programs) < _PROGRAMS:
            try:
                found = self._programs[key, shapes] = program(function, given, rows)
            except NotCaptured as error:
                self.not_compiled = str(error)
                _log.warning("a captured network runs without a compiler, because %s", error)
        return found or function

    def suits(self, network: nn.Module, x: Batch, mode: Randomness) -> bool:
        """Return whether it does what the network does, whatever the values of its weights."""
        same = self._names == frozenset(mode.names) and self.graph.suits(x)
        return same and self._settings == settings_of(network)

    def known(self, network: nn.Module) -> dict[fx.Node, Any]:
        """Return all values that are there before a pass, but for inputs."""
        weights = {node: _weight(network, name) for node, name in self.graph.weights.items()}
        return weights | dict(self.graph.constants)

    def shared(self, values: Mapping[fx.Node, Any], *inputs: Tensor) -> list[Any]:
        """Return the values of `shared_nodes`, which do not differ by draw, for some examples."""
        of_inputs = dict(zip(self.graph.inputs, inputs, strict=True))
        return [*inputs, *self._shared({**values, **of_inputs}, _nobody).values()]

    @property
    def shared_nodes(self) -> tuple[fx.Node, ...]:
        """The nodes of inputs, and of what all draws share of what follows from these."""
        return *self.graph.inputs, *self._shared.gives

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
        self,
        as_rows: DrawsAsRows,
        values: Mapping[fx.Node, Any],
        mode: Randomness,
        stream: RowStream,
    ) -> Tensor:
        """Return the outputs of several draws `(m, N, ...)`, which are rows of one pass."""
        mode.stream = stream

        def answer(repeated: bool, *call: Any, **kwargs: Any) -> Any:
            stream.repeated = repeated
            return self._answered(mode, *call, **kwargs)

        return as_rows(values, partial(answer, False), partial(answer, True), stream.draws)

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
        self._known = plan.known(network)
        self._ids = tuple(map(id, self._known.values()))
        self._shared = self._made("shared", partial(plan.shared, self._known), list(tensors(x)))

    def chunk(self) -> int:
        """Return how many draws need as much memory as there is."""
        return max(1, int(memory_for(self.x) / max(1, self.plan.bytes_per_row * rows_of(self.x))))

    def run(self, start: int, size: int, *, last: bool = False) -> Tensor:
        """Return `size` draws `(size, N, ...)`, of which the first has the number `start`."""
        keys = sent(draw_keys(self.seed, range(start, start + size)), self.device)
        values = dict(zip(self.plan.shared_nodes, self._shared, strict=True))
        of_draws = [keys]
        if self.plan.as_rows is None or not self.vmapped:  # else nobody asks for numbers of draws
            of_draws.append(sent(torch.arange(start, start + size), self.device))
        if not self.vmapped:
            with self._watched():
                draw = self._draw(self._known | values, *(each[0] for each in of_draws))
            return draw.unsqueeze(0)
        nodes = [node for node, value in values.items() if isinstance(value, Tensor)]

        def draws(*given: Tensor) -> list[Tensor]:
            of_nodes = dict(zip(nodes, given[len(of_draws) :], strict=True))
            known = {**self._known, **values, **of_nodes}
            return [self._draws(known, *given[: len(of_draws)])]

        [found] = self._made("drawn", draws, [*of_draws, *(values[node] for node in nodes)])
        return found  # type: ignore[no-any-return]

    def _made(self, what: str, function: Function, given: list[Tensor]) -> list[Any]:
        """Return what a part of the network makes of tensors."""
        key = what, self.examples, self._ids
        with self._watched():
            return self.plan.program(key, function, given, rows_of(self.x))(*given)  # type: ignore[no-any-return]

    def _watched(self) -> AbstractContextManager[None]:
        return guarded() if self.plan.writes else nullcontext()

    def _draws(self, values: Mapping[fx.Node, Any], keys: Tensor, *numbers: Tensor) -> Tensor:
        as_rows = self.plan.as_rows
        if as_rows is None:
            return vmap(partial(self._draw, values), randomness="different")(keys, *numbers)
        stream = RowStream(keys, self.examples)
        return self.plan.outputs_in_rows(as_rows, values, self.randomness(), stream)

    def _draw(self, values: Mapping[fx.Node, Any], key: Tensor, draw: Tensor) -> Tensor:
        mode = self.randomness()
        mode.draw = draw
        return self.plan.outputs(values, mode, Stream(key, self.examples))


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
