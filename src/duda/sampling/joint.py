"""Joint draws: which random numbers of a pass belong to an example, so that all can share them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from duda.batches import Batch, each_input, rows_of
from duda.preservation import seeded
from duda.sampling.randomness import Randomness
from duda.sampling.streams import Stream, draw_key
from duda.sampling.values import tensors

__all__ = ["Examples", "examples_in_calls"]

_PROBES = 2  # draws in which copies of an example must agree


@dataclass(frozen=True)
class Examples:
    """Where the examples of a batch are in what its random calls ask for.

    Attributes:
        rows: how many there are.
        axes: for each call of a pass, the dimension that grows with them, if one does.
        together: whether the entries of an example lie together on a dimension that has several of
            each, such as the heads of attention; otherwise those of all examples take turns.
    """

    rows: int
    axes: tuple[int | None, ...]
    together: bool = True

    def drawn(self, call: int, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of what is drawn for one example."""
        axis = self._axis(call)
        if axis is None:
            return shape
        if axis >= len(shape) or shape[axis] % self.rows:
            raise ValueError(_mixes(f"asks for numbers of shape {shape} for {self.rows} examples"))
        return (*shape[:axis], shape[axis] // self.rows, *shape[axis + 1 :])

    def spread(self, call: int, drawn: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return it for all examples."""
        axis = self._axis(call)
        if axis is None:
            return drawn
        new = axis if self.together else axis + 1
        sizes = (*drawn.shape[:new], self.rows, *drawn.shape[new:])
        return drawn.unsqueeze(new).expand(sizes).reshape(shape)

    def _axis(self, call: int) -> int | None:
        if call >= len(self.axes):
            raise ValueError(
                _mixes(f"makes more than the {len(self.axes)} random calls that it made before")
            )
        return self.axes[call]


_found: WeakKeyDictionary[nn.Module, tuple[Hashable, Examples]] = WeakKeyDictionary()


def examples_in_calls(
    network: nn.Module, x: Batch, randomness: Callable[[], Randomness], seed: int
) -> Examples:
    """Return where the examples are, found out by asking for a few copies of the first one.

    Raises:
        ValueError: if that cannot be told, or copies differ although they share what is drawn.
    """
    key = (
        seed,
        type(randomness()),
        tuple((each.ndim, each.dtype) for each in tensors(x)),
        tuple(map(id, network.modules())),
    )
    known = _found.get(network)
    if known is None or known[0] != key:
        known = _found[network] = key, _probed(network, x, randomness, seed)
    return Examples(rows_of(x), known[1].axes, known[1].together)


def _probed(
    network: nn.Module, x: Batch, randomness: Callable[[], Randomness], seed: int
) -> Examples:
    def outputs(rows: int, examples: Examples | None, number: int = 0) -> tuple[Tensor, Stream]:
        """Run one draw of copies of the first example."""
        mode = randomness()
        copies = each_input(x, lambda values: values[:1].repeat(rows, *[1] * (values.ndim - 1)))
        device = next(tensors(x)).device
        mode.draw = torch.tensor(number, device=device)
        key = torch.tensor(draw_key(seed, number), device=device)
        mode.stream = stream = Stream(key, examples, probing=True)
        gpus = [device] if device.type == "cuda" else []
        with torch.no_grad(), seeded(draw_key(seed, number), gpus), mode:
            return mode.call(network, copies), stream

    few, more = (outputs(rows, None)[1].shapes for rows in (2, 3))
    if len(few) != len(more):
        raise ValueError(_mixes("makes more random calls for more examples"))
    axes = tuple(map(_growing, few, more))
    for together in (True, False):
        examples = Examples(3, axes, together)
        if all(_agree(outputs(3, examples, number)[0]) for number in range(_PROBES)):
            return examples
    raise ValueError(_mixes("gives copies of an example different outputs"))


def _growing(few: tuple[int, ...], more: tuple[int, ...]) -> int | None:
    """Return which dimension grows from 2 to 3 examples as these do."""
    if few == more:
        return None
    axes = [axis for axis, (one, other) in enumerate(zip(few, more, strict=False)) if one != other]
    if len(few) != len(more) or len(axes) > 1 or 3 * few[axes[0]] != 2 * more[axes[0]]:
        raise ValueError(_mixes(f"asks for numbers of shape {few} for 2 examples and {more} for 3"))
    return axes[0]


def _agree(outputs: Tensor) -> bool:
    """Return whether all rows are the same, but for rounding."""
    largest = float(outputs.nan_to_num(0, 0, 0).abs().max())
    tolerance = torch.finfo(outputs.dtype).eps ** 0.5 * largest
    return torch.allclose(outputs, outputs[:1], rtol=0, atol=tolerance, equal_nan=True)


def _mixes(what: str) -> str:
    return (
        f"`joint` is True, but the network {what}, where one draw was expected to do the same with "
        "each example: leave `joint` out, or draw weights instead, as `duda.MCDropConnect` does."
    )
