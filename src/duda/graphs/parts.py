"""Parts of a graph as functions: what is the same for all draws, and what follows from chance."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx, nn

from duda.graphs.graph import Graph, NotCaptured, arguments, operator_name

__all__ = ["Answer", "Part", "split", "writes_to_others"]

# From an operator that is asked for, and what it is called with by place and name, to its result.
Answer = Callable[..., Any]


@dataclass(frozen=True)
class Part:
    """Some operators of a graph.

    Args:
        operators: their nodes, in order.
        reads: the nodes whose values it needs.
        gives: the nodes whose values it makes for others.
        module: the code.
    """

    operators: tuple[fx.Node, ...]
    reads: tuple[fx.Node, ...]
    gives: tuple[fx.Node, ...]
    module: fx.GraphModule

    def __call__(self, values: Mapping[fx.Node, Any], answer: Answer) -> dict[fx.Node, Any]:
        """Return the values of what it gives, by those of what it reads."""
        results = self.module(answer, *(values[node] for node in self.reads))
        return dict(zip(self.gives, results, strict=True))


def split(
    graph: Graph, starts: Collection[fx.Node], asked: Collection[fx.Node] = ()
) -> tuple[Part, Part]:
    """Return what is the same for all draws as a function, and what differs as another.

    Args:
        graph: a captured network.
        starts: what differs by draw: random operators, and weights.
        asked: operators whose results are asked for, as are those of all that are starts.

    Raises:
        NotCaptured: if what differs is written to what does not, which has one place for all.
    """
    differs = graph.following(starts)
    _check_writes(graph, differs, starts)
    read_by_both = [
        node
        for node in graph.operators
        if node not in differs and (not differs.isdisjoint(node.users) or node is graph.output)
    ]
    shared = [node for node in graph.operators if node not in differs]
    drawn = [node for node in graph.operators if node in differs]
    all_asked = {*starts, *asked}
    return part_of(shared, read_by_both, ()), part_of(drawn, [graph.output], all_asked)


def part_of(
    operators: Sequence[fx.Node], gives: Sequence[fx.Node], asked: Collection[fx.Node]
) -> Part:
    """Return operators as a function, which asks for the results of some."""
    code = fx.Graph()
    answer = code.placeholder("answer")
    made: dict[fx.Node, fx.Node] = {}
    reads = read_by(operators, gives)
    for number, node in enumerate(reads):
        made[node] = code.placeholder(f"read_{number}")
    for node in operators:
        made[node] = code.node_copy(node, made.__getitem__)
        if node in asked:
            ask_for(made[node], answer)
    code.output(tuple(made[node] for node in gives))
    return Part(tuple(operators), reads, tuple(gives), fx.GraphModule(nn.Module(), code))


def read_by(operators: Sequence[fx.Node], gives: Sequence[fx.Node]) -> tuple[fx.Node, ...]:
    """Return what operators read, and give, that others make."""
    own = set(operators)
    wanted = dict.fromkeys(each for node in operators for each in node.all_input_nodes)
    return tuple(each for each in dict.fromkeys((*wanted, *gives)) if each not in own)


def ask_for(made: fx.Node, answer: fx.Node) -> None:
    """Let the call of an operator in new code be asked for."""
    made.args = (answer, made.target, *made.args)  # type: ignore[arg-type]
    made.target = _ask


def _ask(answer: Answer, operator: Any, *args: Any, **kwargs: Any) -> Any:
    return answer(operator, *args, **kwargs)


def _check_writes(graph: Graph, differs: Collection[fx.Node], starts: Collection[fx.Node]) -> None:
    """Raise where operators write to what others read at another time, now that some run first."""
    begun = False
    for node in graph.operators:
        begun = begun or node in differs
        for target in _written(node):
            if node in starts:  # which is answered by a result, and writes nothing
                fine = _only_user(target, node)
            else:
                fine = not begun or (node in differs and target in differs)
            if not fine:
                name = operator_name(node)
                raise NotCaptured(f"`{name}` writes to a tensor that others read as it was")


def writes_to_others(graph: Graph) -> bool:
    """Return whether operators write to what was there before them, such as weights."""
    others: dict[fx.Node, bool] = {}
    for node in graph.nodes.nodes:
        seen = (others[each] for each in _viewed(node))
        others[node] = node.op == "placeholder" or any(seen)
    return any(others[target] for node in graph.operators for target in _written(node))


def _written(node: fx.Node) -> list[fx.Node]:
    """Return the nodes that an operator writes to."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or not schema.is_mutable:
        return []
    given = arguments(node)
    writes = [
        each.name for each in schema.arguments if each.alias_info and each.alias_info.is_write
    ]
    return [given[name] for name in writes if isinstance(given[name], fx.Node)]


def _only_user(target: fx.Node, node: fx.Node) -> bool:
    """Return whether nobody but `node` reads a tensor, or one that it is a view of."""
    return list(target.users) == [node] and all(
        _only_user(each, target) for each in _viewed(target)
    )


def _viewed(node: fx.Node) -> list[fx.Node]:
    """Return the nodes of tensors whose memory the result of an operator may have."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        return list(node.all_input_nodes)
    given = arguments(node)
    return [
        given[each.name]
        for each in schema.arguments
        if each.alias_info and isinstance(given[each.name], fx.Node)
    ]
