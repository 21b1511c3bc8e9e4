"""Graphs of operators: which of them are random, what follows from those, and weights by name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import sympy
import torch
from torch import Tensor, fx
from torch._ops import OpOverload

from duda.batches import Batch, rows_of

__all__ = ["Graph", "NotCaptured", "arguments", "is_random"]

_PROBABILITIES = ("p", "dropout_p", "dropout")
_MODES = ("train", "training")


class NotCaptured(RuntimeError):
    """Raised with the reason why a network is no graph, or not one that can be used so."""


@dataclass(frozen=True)
class Graph:
    """The operators that a network calls, in order, each a node that knows what it reads.

    Args:
        nodes: those of torch, of which the last is the output.
        inputs: the nodes of what the network is called with, in the order of a batch's parts.
        weights: the nodes of parameters, buffers and other tensors that are attributes of modules,
            and their names in the network.
        constants: the nodes of other tensors, and what they are.
        captured_for: the batch by which the network was captured.

    Raises:
        NotCaptured: if some of it is no operator, such as a branch of the control flow.
    """

    nodes: fx.Graph
    inputs: tuple[fx.Node, ...]
    weights: Mapping[fx.Node, str]
    constants: Mapping[fx.Node, Tensor]
    captured_for: Batch

    def __post_init__(self) -> None:
        for node in self.nodes.nodes:
            known = node.op in ("placeholder", "output") or isinstance(node.target, OpOverload)
            if not (known or _is_python(node)):
                raise NotCaptured(f"it calls {node.target}, which is no operator")

    def __repr__(self) -> str:
        """Return how many operators there are, and which."""
        kinds = dict.fromkeys(operator_name(node) for node in self.operators)
        random = sum(map(is_random, self.operators))
        of_which = f", of which {random} random" if random else ""
        return f"Graph({len(self.operators)} operators{of_which}: {', '.join(kinds)})"

    @cached_property
    def operators(self) -> tuple[fx.Node, ...]:
        """The nodes that call an operator, in order."""
        return tuple(node for node in self.nodes.nodes if node.op == "call_function")

    @property
    def output(self) -> fx.Node:
        """The node of the raw outputs."""
        [outputs] = self.nodes.output_node().args
        return outputs[0]  # type: ignore[index, return-value] # of one

    def random(self, *, dropout: bool = False) -> tuple[fx.Node, ...]:
        """Return the operators that draw random numbers.

        Args:
            dropout: also those that drop nothing only as their module is in eval mode.
        """
        return tuple(node for node in self.operators if is_random(node, dropout=dropout))

    def following(self, starts: Collection[fx.Node]) -> frozenset[fx.Node]:
        """Return some nodes, and all operators that read what follows from them."""
        found = set(starts)
        for node in self.operators:
            if not found.isdisjoint(node.all_input_nodes):
                found.add(node)
        return frozenset(found)

    def bytes_per_row(self, nodes: Iterable[fx.Node]) -> float:
        """Return how much memory the results of operators take for an example.

        Raises:
            NotCaptured: if that depends on values.
        """
        return sum(map(_bytes, nodes)) / rows_of(self.captured_for)

    def suits(self, x: Batch) -> bool:
        """Return whether the graph makes the outputs for `x` as well.

        That is so for any number of rows by which the network does not choose what it does.
        """
        return _form(x) == _form(self.captured_for) and self._takes(rows_of(x))

    def _takes(self, rows: int) -> bool:
        sizes = [node.meta["val"].shape[0] for node in self.inputs]
        symbols = {
            size.node.expr: rows
            for size in sizes
            if isinstance(size, torch.SymInt) and not size.node.expr.is_number
        }
        if not symbols:  # the network has written them down
            return rows == rows_of(self.captured_for)
        guards = sizes[0].node.shape_env.guards
        return all(guard.expr.subs(symbols) is not sympy.false for guard in guards)


def is_random(node: fx.Node, *, dropout: bool = False) -> bool:
    """Return whether an operator draws random numbers, or with `dropout` would in train mode."""
    if not isinstance(node.target, OpOverload):
        return False
    if torch.Tag.nondeterministic_seeded not in node.target.tags:
        return False
    given = arguments(node)
    p = next((given[name] for name in _PROBABILITIES if name in given), None)
    trains = next((given[name] for name in _MODES if name in given), True)
    return p != 0 and given.get("num_layers") != 1 and bool(trains or (dropout and p is not None))


def arguments(node: fx.Node) -> dict[str, Any]:
    """Return what an operator is called with, by name, its defaults included."""
    schema = node.target._schema.arguments  # type: ignore[union-attr] # of an operator
    found = {each.name: each.default_value for each in schema if each.has_default_value()}
    found |= dict(zip([each.name for each in schema], node.args, strict=False))
    return found | node.kwargs


def operator_name(node: fx.Node) -> str:
    """Return the name of an operator, such as `linear`."""
    if isinstance(node.target, OpOverload):
        return str(node.target._schema.name).removeprefix("aten::")
    return str(getattr(node.target, "__name__", node.target))


def _bytes(node: fx.Node) -> int:
    """Return how much memory the result of an operator takes for the batch of the capture."""
    results = node.meta.get("val")
    found = results if isinstance(results, tuple | list) else [results]
    tensors = [each for each in found if isinstance(each, Tensor)]
    sizes = [[_known(size) for size in each.shape] for each in tensors]
    if any(None in each for each in sizes):
        name = operator_name(node)
        raise NotCaptured(f"how much `{name}` gives depends on the values of a draw")
    return sum(prod(size) * each.dtype.itemsize for size, each in zip(sizes, tensors, strict=True))


def _known(size: Any) -> Any:
    """Return a number, for a symbol the one it had in the capture, None if it had none."""
    return size.node.hint if isinstance(size, torch.SymInt) else int(size)


def _form(x: Batch) -> list[tuple[Any, ...]]:
    """Return all of a batch but its values and the number of its rows."""
    parts = x.items() if isinstance(x, Mapping) else [("", x)]
    return [(name, each.shape[1:], each.dtype, each.device) for name, each in parts]


def _is_python(node: fx.Node) -> bool:
    """Return whether a node is Python's own, as for sizes, or a part of several results."""
    return getattr(node.target, "__module__", None) in ("_operator", "operator", "builtins", "math")
