"""Tiles of rows and draws: how many rows at a time let all their draws be one pass.

A row meets what all its draws share once, whatever the number of tiles, if it does not matter which
rows are beside it. That is found out by a few of them, once for a network.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from math import ceil, prod
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch._C._functorch import is_batchedtensor
from torch.func import vmap
from torch.overrides import TorchFunctionMode

from duda.agreement import agree
from duda.batches import Batch, each_input, rows_of
from duda.inside import modules_in
from duda.preservation import preserved
from duda.sampling.networks import without_slow_rules
from duda.sampling.randomness import Randomness
from duda.streams import Stream, draw_keys
from duda.transfer import sent
from duda.trees import tensors

__all__ = [
    "are_apart",
    "draws_at_a_time",
    "from_row",
    "hooked",
    "is_first_tile",
    "memory_for",
    "rows_that_fit",
    "share_of_draws",
    "starts_of",
]

# All that a tile computes should fit a processor's caches and the allocator's reuse;
# benchmarks/sampling.py sets it beside others. A GPU has room for all draws of most batches.
_CACHE = 2**25
_SHARE = 0.25  # of the memory of a GPU that is free
_LITTLE = 0.1  # of what rows cost
_ROWS = 3  # by which a network is measured
_GUESS = 2**15  # bytes of a row, where they cannot be measured
_WHOLE = 8  # rows whose masks end with a word of random bits, whatever their width

_Start = Callable[[int, tuple[int, ...]], int]
_first_row: ContextVar[int] = ContextVar("_first_row", default=0)


@dataclass(frozen=True)
class _Measured:
    """What a pass for a few rows showed.

    Attributes:
        fixed: the bytes that a draw needs for any number of rows, such as for its weights.
        each: those that it needs for a row.
        by_row: for each random call, whether its numbers are those of one row after the other.
        share: how much of all that is computed differs by draw.
    """

    fixed: float
    each: float
    by_row: tuple[bool, ...]
    share: float

    def bytes_for(self, rows: int) -> float:
        """Return the bytes of one draw."""
        return self.fixed + self.each * rows


_measured: WeakKeyDictionary[nn.Module, dict[Any, _Measured | None]] = WeakKeyDictionary()
_apart: WeakKeyDictionary[nn.Module, dict[Any, bool]] = WeakKeyDictionary()


def rows_that_fit(
    network: nn.Module, x: Batch, samples: int, randomness: Callable[[], Randomness]
) -> int:
    """Return how many rows of a batch make a tile with all draws of them, or with as many as fit.

    That is all of them where one row says something of another, or nobody can tell, and where
    weights that are drawn, in each tile anew, would cost more than a little.
    """
    rows = rows_of(x)
    found = _measure(network, x, randomness)
    if found is None or samples * found.bytes_for(rows) <= memory_for(x):
        return rows
    fitting = int((memory_for(x) / samples - found.fixed) // max(1, found.each))
    tiles = ceil(rows / max(1, fitting))
    if tiles * found.fixed > _LITTLE * rows * found.each or not are_apart(network, x, randomness):
        return rows
    alike = ceil(rows / tiles)
    return alike if alike < _WHOLE else ceil(alike / _WHOLE) * _WHOLE


def draws_at_a_time(network: nn.Module, x: Batch, randomness: Callable[[], Randomness]) -> int:
    """Return how many draws of all rows of a batch fit the memory."""
    found = _measure(network, x, randomness)
    if found is None:
        of_draw: float = max(16 * sum(each.nbytes for each in tensors(x)), rows_of(x) * _GUESS)
    else:
        of_draw = found.bytes_for(rows_of(x))
    return max(1, int(memory_for(x) // max(1, of_draw)))


def share_of_draws(network: nn.Module, x: Batch, randomness: Callable[[], Randomness]) -> float:
    """Return how much of what is computed differs by draw, in rows that are asked for in turn.

    It is 0 where that is not known, or where random numbers are not those of rows.
    """
    found = _measure(network, x, randomness)
    return 0.0 if found is None or not all(found.by_row) else found.share


@contextmanager
def from_row(first: int) -> Iterator[None]:
    """Let draws be made for rows that come after so many others, of a batch or of a tile of it."""
    token = _first_row.set(_first_row.get() + first)
    try:
        yield
    finally:
        _first_row.reset(token)


def is_first_tile() -> bool:
    """Return whether no rows of a batch come before those that draws are made for."""
    return _first_row.get() == 0


def starts_of(network: nn.Module, x: Batch, randomness: Callable[[], Randomness]) -> _Start | None:
    """Return where the numbers of some rows begin, among those that a random call asks for.

    None, if they are the first rows.
    """
    first = _first_row.get()
    found = _measure(network, x, randomness) if first else None
    return None if found is None else partial(_start, found.by_row, first, rows_of(x))


def _start(by_row: Sequence[bool], first: int, rows: int, call: int, shape: Sequence[int]) -> int:
    return first * (prod(shape) // rows) if call < len(by_row) and by_row[call] else 0


def memory_for(x: Batch) -> int:
    """Return how many bytes a tile may compute on the device of a batch."""
    device = next(tensors(x)).device
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(_SHARE * (free + unused))
    if device.type == "xpu":
        return int(_SHARE * torch.xpu.mem_get_info(device)[0])
    if device.type == "mps":
        limit = torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
        return int(_SHARE * limit)
    return _CACHE


def _measure(
    network: nn.Module, x: Batch, randomness: Callable[[], Randomness]
) -> _Measured | None:
    """Return what is known of the network's passes; None if it does not run for a few rows."""
    known, key = _measured.setdefault(network, {}), _form(network, x, randomness)
    if key not in known:
        known[key] = _measure_anew(network, x, randomness)
    return known[key]


def _measure_anew(
    network: nn.Module, x: Batch, randomness: Callable[[], Randomness]
) -> _Measured | None:
    for vmapped in (True, False):  # which shows no bytes, but where the numbers of rows are
        with suppress(Exception):  # whatever a network has against it
            run = partial(_Run(network, randomness), vmapped=vmapped)
            few, more = (run(_rows(x, range(rows))) for rows in (1, _ROWS))
            break
    else:
        return None
    each = max(0.0, (more.bytes - few.bytes) / (_ROWS - 1))
    by_row = len(few.shapes) == len(more.shapes)
    pairs = zip(few.shapes, more.shapes, strict=True) if by_row else ()
    return _Measured(
        max(0.0, few.bytes - each),
        each,
        tuple(len(one) > 0 and other == (_ROWS * one[0], *one[1:]) for one, other in pairs),
        more.bytes / max(1, more.bytes + more.common),
    )


def are_apart(network: nn.Module, x: Batch, randomness: Callable[[], Randomness]) -> bool:
    """Return whether rows come out the same in a tile of their own."""
    known, key = _apart.setdefault(network, {}), _form(network, x, randomness)
    if rows_of(x) < _ROWS or hooked(network):
        return False
    if key in known:
        return known[key]
    places = [number * (rows_of(x) - 1) // (_ROWS - 1) for number in range(_ROWS)]
    try:
        run = partial(_Run(network, randomness), vmapped=False)
        together = run(_rows(x, places)).outputs
        first = run(_rows(x, places[:1])).outputs
        with from_row(1):
            others = _rows(x, places[1:])
            rest = run(others, start=starts_of(network, others, randomness)).outputs
        apart = all(agree(together, torch.cat([first, rest])))
    except Exception:  # as of networks that take so many rows and no other number
        apart = False
    if not apart or _all_differ(_rows(x, places)):
        known[key] = apart
    return apart


def _form(network: nn.Module, x: Batch, randomness: Callable[[], Randomness]) -> Any:
    """Return what rows of other values have in common."""
    return (
        type(randomness()),
        tuple((each.shape[1:], each.dtype, each.device) for each in tensors(x)),
        tuple(map(id, modules_in(network))),
    )


def _rows(x: Batch, places: Any) -> Batch:
    count = rows_of(x)
    return each_input(x, lambda values: values[[place % count for place in places]])


def _all_differ(x: Batch) -> bool:
    rows = range(rows_of(x))
    pairs = [(one, other) for one in rows for other in rows if one < other]
    return all(any(not torch.equal(v[i], v[j]) for v in tensors(x)) for i, j in pairs)


@dataclass
class _Seen:
    outputs: Tensor
    bytes: int
    common: int
    shapes: list[tuple[int, ...]]


def hooked(network: nn.Module) -> bool:
    """Return whether a network has hooks that are not torch's own, which may look at rows."""
    return any(
        _hooks_of(module)
        for module in modules_in(network)
        if module._forward_hooks or module._forward_pre_hooks
    )


def _hooks_of(module: nn.Module) -> list[tuple[dict[int, Any], int]]:
    """Return the hooks of a module that are not torch's own, such as those of `weight_norm`."""
    return [
        (hooks, key)
        for hooks in (module._forward_hooks, module._forward_pre_hooks)
        for key, hook in hooks.items()
        if not type(hook).__module__.startswith("torch.")
    ]


class _Run:
    """One draw of a copy of a network, which shares its weights, so that nobody else sees it."""

    def __init__(self, network: nn.Module, randomness: Callable[[], Randomness]) -> None:
        weights = [*network.parameters(), *network.buffers()]
        self.network = copy.deepcopy(network, {id(weight): weight for weight in weights})
        pairs = zip(network.modules(), self.network.modules(), strict=True)
        self.copies = {id(module): double for module, double in pairs}
        for module in self.network.modules():
            for hooks, key in _hooks_of(module):
                del hooks[key]
        self.randomness = randomness

    def __call__(self, x: Batch, *, vmapped: bool, start: _Start | None = None) -> _Seen:
        device, numbers = next(tensors(x)).device, torch.zeros(1, dtype=torch.int64)
        seen: _Seen

        def one_draw(draw: Tensor, key: Tensor) -> Tensor:
            nonlocal seen
            mode, counted = self.randomness(), _Counted()
            mode.draw, mode.stream = draw, Stream(key, start=start)
            mode.moved_to(self.copies)
            own = each_input(x, Tensor.clone)
            with mode, counted:
                outputs = mode.call(self.network, own)
            seen = _Seen(outputs, counted.bytes, counted.common, mode.stream.shapes)
            return outputs

        with preserved(self.network, seed=0), without_slow_rules():
            keys = sent(draw_keys(0, numbers), device)
            draws = sent(numbers, device), keys
            if vmapped:
                seen.outputs = vmap(one_draw, randomness="different")(*draws)[0]
            else:
                one_draw(*(each[0] for each in draws))
        return seen


class _Counted(TorchFunctionMode):
    """Counts the bytes of one draw, in all that differs by draw, and those that all have in common.

    Views of something else, such as parts, are counted for a draw alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.common = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `func`."""
        result = func(*args, **(kwargs or {}))
        for each in tensors(result):
            if is_batchedtensor(each):
                self.bytes += each.nbytes
            elif not each._is_view():
                self.common += each.nbytes
        return result
