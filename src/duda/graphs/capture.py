"""Captures: a network as a graph of torch's operators, taken once by `torch.export`."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export
from torch.export.graph_signature import InputKind, InputSpec
from torch.utils._pytree import tree_leaves

from duda.batches import Batch, each_input, rows_of
from duda.graphs.graph import Graph, NotCaptured
from duda.outputs import raw_outputs
from duda.uncompiled import as_written

__all__ = ["capture"]

_OF_NETWORK = "network."


@as_written()
def capture(network: nn.Module, x: Batch) -> Graph:
    """Return the operators that make the raw outputs of `x`, for any number of examples.

    The network is captured in the modes its modules are in, and stays as it is. What its code does
    beside calling torch, such as choosing by a random number of Python's, is done once, here.

    Raises:
        NotCaptured: if the network cannot be captured, as where it chooses by values of its input.

    Source: `torch.export`, which traces the network with tensors that have no data.

    >>> graph = capture(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), torch.zeros(1, 2))
    >>> graph
    Graph(2 operators: linear, relu)
    >>> sorted(graph.weights.values())
    ['0.bias', '0.weight']
    """
    if rows_of(x) == 1:  # which a capture would take for a dimension that does not matter
        x = each_input(x, lambda values: torch.cat([values, values]))
    double = _double(network)
    return _graph(_exported(_RawOutputs(double), x), x, double)


class _RawOutputs(nn.Module):
    """A network, called as in a prediction."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Batch) -> Tensor:
        return raw_outputs(self.network, x)


def _double(network: nn.Module) -> nn.Module:
    """Return the network with the same weights, whose modules may keep what they want."""
    held = tree_leaves([{**vars(module)} for module in network.modules()])
    others = [each for each in held if isinstance(each, nn.Module)]  # which nobody has registered
    weights = [each for module in (network, *others) for each in _weights(module)]
    weights += [each for each in held if isinstance(each, Tensor)]
    try:
        return copy.deepcopy(network, {id(weight): weight for weight in weights})
    except Exception as error:
        raise NotCaptured(f"it cannot be copied: {_first_line(error)}") from error


def _weights(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _exported(module: nn.Module, x: Batch) -> ExportedProgram:
    any_rows = each_input(x, lambda values: {0: Dim.AUTO})  # type: ignore[arg-type, return-value]
    try:
        with torch.no_grad(), _quiet(), _opened():
            return export(module, (x,), dynamic_shapes={"x": any_rows}, strict=False)
    except Exception as error:  # of many kinds: what torch says is the reason
        raise NotCaptured(_first_line(error)) from error


@contextmanager
def _opened() -> Iterator[None]:
    """Let layers of attention call all that they do, instead of one operator for it."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what an export tells those who develop it: the reason it raises is enough."""
    logger = logging.getLogger("torch")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        # It prints the graph so far, too.
        with warnings.catch_warnings(), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _graph(program: ExportedProgram, x: Batch, network: nn.Module) -> Graph:
    nodes = {node.name: node for node in program.graph.nodes}
    weights, constants, inputs = {}, {}, []
    for spec in program.graph_signature.input_specs:
        node = nodes[spec.arg.name]
        if spec.kind is InputKind.USER_INPUT:
            inputs.append(node)
        elif spec.kind in (InputKind.PARAMETER, InputKind.BUFFER):
            weights[node] = _name_of(spec)
        elif spec.kind is InputKind.CONSTANT_TENSOR:
            constant, name = program.constants[str(spec.target)], _name_of(spec)
            if _attribute(network, name) is constant:
                weights[node] = name
            else:
                constants[node] = constant
        else:
            raise NotCaptured(f"it holds a {spec.kind.name.lower().replace('_', ' ')}")
    return Graph(program.graph, tuple(inputs), weights, constants, x)


def _name_of(spec: InputSpec) -> str:
    return str(spec.target).removeprefix(_OF_NETWORK)


def _attribute(network: nn.Module, name: str) -> Any:
    try:
        return attrgetter(name)(network)
    except AttributeError:
        return None


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
