"""Draws as rows: a part of a graph in which several draws are so many more rows of one batch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from duda.graphs.graph import Graph, NotCaptured
from duda.graphs.parts import Answer, Part, ask_for, read_by

__all__ = ["DrawsAsRows", "draws_as_rows"]


@dataclass(frozen=True)
class DrawsAsRows:
    """A part of a graph for several draws, all rows of the first before those of the second.

    Args:
        reads: the nodes whose values it needs once for all draws.
        repeated: those whose values it needs as often as there are draws, and the dimension that
            the rows are on; None for a number of rows.
        module: the code.
    """

    reads: tuple[fx.Node, ...]
    repeated: tuple[tuple[fx.Node, int | None], ...]
    module: fx.GraphModule

    def __call__(
        self, values: Mapping[fx.Node, Any], first: Answer, answer: Answer, draws: int
    ) -> Tensor:
        """Return the raw outputs `(draws, N, ...)`; `first` answers where draws begin to differ."""
        given = [values[node] for node in self.reads]
        given += [_repeated(values[node], place, draws) for node, place in self.repeated]
        outputs: Tensor = self.module(first, answer, *given)
        return outputs.view(draws, -1, *outputs.shape[1:])


def draws_as_rows(
    graph: Graph, part: Part, asked: Collection[fx.Node], first: Collection[fx.Node]
) -> DrawsAsRows:
    """Return what differs by draw, for draws as rows of one batch.

    Whether rows have to do with one another this does not tell. Where they do, results are others.

    Args:
        graph: of a network.
        part: that which follows from chance.
        asked: operators whose results are asked for.
        first: those of them that are asked with what all draws share as it is, and whose results
            have a dimension of draws before the rows.

    Raises:
        NotCaptured: if rows are not on one dimension of each value, or of what is asked for on
            another than the first.
    """
    if graph.output not in part.operators:
        raise NotCaptured("its outputs are the same for all draws")
    for node in (*asked, graph.output):
        if _place_of_rows(node) != 0:
            raise NotCaptured(f"`{node.name}` does not have its rows first")
    code = fx.Graph()
    answers = {True: code.placeholder("first"), False: code.placeholder("answer")}
    made: dict[fx.Node, fx.Node] = {}
    shared: dict[fx.Node, fx.Node] = {}
    with_rows: list[fx.Node] = []
    own = set(part.operators)
    for node in read_by(part.operators, ()):
        users = own.intersection(node.users)
        if not _has_rows(node) or not users.isdisjoint(first):
            shared[node] = code.placeholder(f"shared_{len(shared)}")
        if _has_rows(node) and not users.issubset(first):
            with_rows.append(node)
    repeated = {
        node: code.placeholder(f"repeated_{number}") for number, node in enumerate(with_rows)
    }
    for node in part.operators:
        known = (repeated | shared if node in first else shared | repeated) | made
        made[node] = code.node_copy(node, known.__getitem__)
        if node in asked:
            ask_for(made[node], answers[node in first])
        if node in first:
            made[node] = code.call_function(torch.flatten, (made[node], 0, 1))
    code.output(made[graph.output])
    places = tuple((node, _place_of_rows(node)) for node in repeated)
    return DrawsAsRows(tuple(shared), places, fx.GraphModule(nn.Module(), code))


def _repeated(value: Any, place: int | None, draws: int) -> Any:
    if place is None:
        return value * draws
    shape = value.shape
    repeated = value.unsqueeze(place).expand(*shape[:place], draws, *shape[place:])
    return repeated.flatten(place, place + 1)


def _has_rows(node: fx.Node) -> bool:
    """Return whether the size of a value, or the value, follows from the number of rows."""
    value = node.meta.get("val")
    sizes = value.shape if isinstance(value, Tensor) else [value]
    return any(isinstance(each, torch.SymInt | torch.SymFloat | torch.SymBool) for each in sizes)


def _place_of_rows(node: fx.Node) -> int | None:
    """Return the dimension that grows as the rows do, or None for a number that does.

    Raises:
        NotCaptured: if it is none, or more than one, or grows in another way.
    """
    value = node.meta.get("val")
    value = value[0] if isinstance(value, tuple | list) else value
    sizes = list(value.shape) if isinstance(value, Tensor) else [value]
    places = [place for place, size in enumerate(sizes) if isinstance(size, torch.SymInt)]
    if len(places) != 1 or not _is_multiple_of_rows(sizes[places[0]]):
        raise NotCaptured(f"`{node.name}` does not have its rows on one dimension")
    return places[0] if isinstance(value, Tensor) else None


def _is_multiple_of_rows(size: Any) -> bool:
    """Return whether a number is a multiple of the number of rows."""
    symbols = size.node.expr.free_symbols
    return len(symbols) == 1 and (size.node.expr / next(iter(symbols))).is_number
