"""Joint draws: which random numbers of a pass belong to an example, so that all can share them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from duda.agreement import agree
from duda.batches import Batch, each_input, rows_of
from duda.inside import modules_in
from duda.preservation import seeded
from duda.sampling.randomness import Randomness
from duda.streams import Sharing, Stream, draw_key
from duda.trees import tensors

__all__ = ["Examples", "examples_in_calls"]

_ROWS = 3  # examples that a network is asked with
_PROBES = 3  # draws in which other numbers for one of them are tried
_COPIES = 2  # draws in which copies of one must agree


@dataclass(frozen=True)
class _Place:
    """Where the examples are in the numbers that a random call asks for.

    Attributes:
        axis: the dimension that grows with them.
        run: how many entries of an example follow one another on it, then those of the next one;
            None if all of them do.
    """

    axis: int
    run: int | None = None


@dataclass(frozen=True)
class Examples:
    """Where the examples of a batch are in what its random calls ask for.

    Attributes:
        rows: how many there are.
        places: for each call of a pass, where they are, if anywhere.
    """

    rows: int
    places: tuple[_Place | None, ...]

    def drawn(self, call: int, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of what is drawn for one example."""
        place = self._place(call)
        if place is None:
            return shape
        if place.axis >= len(shape) or shape[place.axis] % (self.rows * (place.run or 1)):
            raise ValueError(_mixes(f"asks for numbers of shape {shape} for {self.rows} examples"))
        before, of_all, after = _split_at(shape, place.axis)
        return (*before, of_all // self.rows, *after)

    def spread(self, call: int, drawn: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return it for all examples."""
        place = self._place(call)
        if place is None:
            return drawn
        before, each, after = _split_at(drawn.shape, place.axis)
        run = place.run or max(1, each)
        runs = drawn.reshape(*before, each // run, 1, run, *after)
        return runs.expand(*before, each // run, self.rows, run, *after).reshape(shape)

    def _place(self, call: int) -> _Place | None:
        if call >= len(self.places):
            raise ValueError(
                _mixes(f"makes more than the {len(self.places)} random calls that it made before")
            )
        return self.places[call]


@dataclass(frozen=True)
class _Redrawn:
    """Gives one example other numbers, if they are where its place in some calls says."""

    example: int
    places: Mapping[int, _Place]

    def drawn(self, call: int, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (2, *shape) if call in self.places else shape

    def spread(self, call: int, drawn: Tensor, shape: tuple[int, ...]) -> Tensor:
        place = self.places.get(call)
        if place is None:
            return drawn
        size = shape[place.axis]
        run = place.run or max(1, size // _ROWS)
        owners = torch.arange(size, device=drawn.device) // run % _ROWS
        own = (owners == self.example).view(-1, *[1] * (len(shape) - place.axis - 1))
        return torch.where(own, drawn[1], drawn[0])


_found: WeakKeyDictionary[nn.Module, tuple[Hashable, Examples]] = WeakKeyDictionary()


def examples_in_calls(
    network: nn.Module, x: Batch, randomness: Callable[[], Randomness], seed: int
) -> Examples:
    """Return where the examples are, found out by asking with a few of them.

    A call whose numbers grow with the examples has them on that dimension. If it holds several
    entries of each, such as heads or positions, other numbers for one example tell which are its
    own: they must not change what the network says of the others.

    Raises:
        ValueError: if that cannot be told, or copies differ although they share what is drawn.
    """
    key = (
        seed,
        type(randomness()),
        tuple((each.shape[1:], each.dtype) for each in tensors(x)),
        tuple(map(id, modules_in(network))),
    )
    known = _found.get(network)
    if known is not None and known[0] == key:
        places = known[1].places
    else:
        probe = _Probe(network, x, randomness, seed)
        places = probe.places()
        if probe.told:
            _found[network] = key, Examples(_ROWS, places)
    return Examples(rows_of(x), places)


class _Probe:
    """A network that is asked with a few examples of a batch.

    Attributes:
        told: whether its answers depend on the numbers that were drawn anew; of an input of zeros
            they may not.
    """

    def __init__(
        self, network: nn.Module, x: Batch, randomness: Callable[[], Randomness], seed: int
    ) -> None:
        self.network, self.x, self.randomness, self.seed = network, x, randomness, seed
        self.rows = [number * (rows_of(x) - 1) // (_ROWS - 1) for number in range(_ROWS)]
        self.told = True

    def places(self) -> tuple[_Place | None, ...]:
        """Return where the examples are in each random call."""
        few, more = (self._run(self.rows[:1] * rows)[1].shapes for rows in (_ROWS - 1, _ROWS))
        if len(few) != len(more):
            raise ValueError(_mixes("makes more random calls for more examples"))
        axes = {call: _growing(*shapes) for call, shapes in enumerate(zip(few, more, strict=True))}
        found = self._told_apart(
            {
                call: [_Place(axis, run) for run in _runs(more[call][axis] // _ROWS)]
                for call, axis in axes.items()
                if axis is not None
            }
        )
        places = tuple(map(found.get, axes))
        for number in range(_COPIES):
            copies = [self.rows[number]] * _ROWS
            if not all(agree(*self._run(copies, Examples(_ROWS, places), number)[0])):
                raise ValueError(_mixes("gives copies of an example different outputs"))
        return places

    def _told_apart(self, options: Mapping[int, Sequence[_Place]]) -> dict[int, _Place]:
        """Return which of the options each call has: the same kind for all, or each by itself."""
        if all(len(places) == 1 for places in options.values()):
            return {call: place for call, [place] in options.items()}
        base = [self._run(self.rows, number=number)[0] for number in range(_PROBES)]
        for kind in (0, 1):  # all together, or in turns
            guess = {call: places[min(kind, len(places) - 1)] for call, places in options.items()}
            if self._own(guess, base):
                return guess
        found = {}
        for call, places in options.items():
            fitting = (place for place in places if self._own({call: place}, base))
            place = next(fitting, None)
            if place is None:
                raise ValueError(_mixes("lets what is drawn for one example change others"))
            found[call] = place
        self.told = True
        return found

    def _own(self, places: Mapping[int, _Place], base: Sequence[Tensor]) -> bool:
        """Return whether other numbers for an example change what is said of one at most.

        That need not be the same one: a network may sort its examples.
        """
        self.told = False
        for number, outputs in enumerate(base):
            redrawn, _ = self._run(self.rows, _Redrawn(number, places), number)
            changed = sum(not all(agree(*pair)) for pair in zip(outputs, redrawn, strict=True))
            self.told = self.told or changed > 0
            if changed > 1:
                return False
        return True

    def _run(
        self, rows: Sequence[int], sharing: Sharing | None = None, number: int = 0
    ) -> tuple[Tensor, Stream]:
        """Run one draw for examples with these numbers."""
        mode = self.randomness()
        x = each_input(self.x, lambda values: values[list(rows)])
        device = next(tensors(x)).device
        mode.draw = torch.tensor(number, device=device)
        key = draw_key(self.seed, number)
        mode.stream = stream = Stream(torch.tensor(key, device=device), sharing, probing=True)
        gpus = [device] if device.type == "cuda" else []
        with torch.no_grad(), seeded(key, gpus), mode:
            outputs = mode.call(self.network, x)
        if outputs.ndim == 0 or len(outputs) != len(rows):
            raise ValueError(_mixes(f"gives {len(rows)} examples the shape {tuple(outputs.shape)}"))
        return outputs, stream


def _growing(few: tuple[int, ...], more: tuple[int, ...]) -> int | None:
    """Return which dimension grows as the examples do, from one fewer to `_ROWS`."""
    if few == more:
        return None
    axes = [axis for axis, (one, other) in enumerate(zip(few, more, strict=False)) if one != other]
    if len(few) != len(more) or len(axes) > 1 or _ROWS * few[axes[0]] != 2 * more[axes[0]]:
        raise ValueError(_mixes(f"asks for numbers of shape {few} for 2 examples and {more} for 3"))
    return axes[0]


def _runs(each: int) -> list[int | None]:
    """Return how many of an example's entries may follow one another: all, one, or some."""
    some = [run for run in range(2, each) if each % run == 0]
    return [None] if each < 2 else [None, 1, *some]


def _split_at(shape: tuple[int, ...], axis: int) -> tuple[tuple[int, ...], int, tuple[int, ...]]:
    return shape[:axis], shape[axis], shape[axis + 1 :]


def _mixes(what: str) -> str:
    return (
        f"`joint` is True, but the network {what}, where one draw was expected to do the same with "
        "each example: leave `joint` out, or draw weights instead, as `duda.MCDropConnect` does."
    )
