"""Random numbers by draw, call and place, which are the same whatever is drawn beside them.

Number i of a draw's k-th random call is a hash of the seed, the draw's number, k and i
(`random_words.py`). So draws may be taken in any order, some at once or one by one, here or on a
GPU, and the numbers of a row do not depend on how many rows there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache, wraps
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar

import torch
from torch import Tensor
from torch._C._functorch import is_batchedtensor
from torch.func import vmap

from duda.draw_axis import Axis
from duda.random_words import Numbers, draw_key, draw_keys, numbers

__all__ = [
    "INTEGERS_AS_WIDE",
    "RowStream",
    "Sharing",
    "Stream",
    "draw_generator",
    "draw_key",
    "draw_keys",
    "new_seed",
    "unseen",
    "unseen_calls",
]

P = ParamSpec("P")
R = TypeVar("R")

INTEGERS_AS_WIDE = {
    torch.float64: torch.int64,
    torch.float32: torch.int32,
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
}
_SIGNIFICANT = {torch.float64: 53, torch.float32: 24, torch.float16: 11, torch.bfloat16: 8}
_OUTERMOST = 4.46  # of 2¹⁶ normal numbers, for sums of two to have their law to 5 deviations
_TURN = (21 + 20j) / 29  # of length 1


def new_seed() -> int:
    """Return a seed for `random_draws` from torch's global generator."""
    seed: Any = torch.randint(2**63 - 1, ()).tolist()  # no call of torch more, as `item` is
    return int(seed)


def draw_generator(seed: int, number: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator for what a method draws by itself, which depends on seed and draw alone.

    >>> torch.randn(2, generator=draw_generator(0, number=1)).shape
    torch.Size([2])
    """
    return torch.Generator(device).manual_seed(draw_key(seed, number))


# Within it no mode gets to see a call of torch, which each would take its time.
unseen_calls = torch._C.DisableTorchFunction


def unseen(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function whose calls of torch no mode gets to see.

    >>> unseen(torch.add)(1, torch.tensor(2))
    tensor(3)
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with unseen_calls():
            return function(*args, **kwargs)

    return call


class Sharing(Protocol):
    """Which random numbers the examples of a batch share."""

    def drawn(self, call: int, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of what is drawn for a call that asks for `shape`."""

    def spread(self, call: int, drawn: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return what was drawn, for all examples."""


class Stream:
    """The random numbers of one pass: of one draw, or of several along an axis that vmap hides.

    Args:
        key: that of the draw, an int64 scalar.
        sharing: what is drawn once for all examples, if anything is.
        probing: whether masks drop half of what they could, so that all masks show an effect.
        start: from a call and the shape that it asks for to how many of its numbers are those of
            rows before, where these are some rows of a batch.

    Attributes:
        device: where the key is.
        axis: where vmap hides the draws, if there are several.
        shapes: what each random call of the pass has asked for so far.

    >>> one, other = Stream(torch.tensor(7)), Stream(torch.tensor(7))
    >>> bool((one.normal((3,)) == other.normal((5,))[:3]).all())
    True
    """

    def __init__(
        self,
        key: Tensor,
        sharing: Sharing | None = None,
        probing: bool = False,
        start: Callable[[int, tuple[int, ...]], int] | None = None,
    ) -> None:
        # All draws are made at once, so that those whom vmap hides come out of hiding for a moment.
        self.axis = Axis.of(key)
        self._keys = key if self.axis is None else self.axis.shown(key)
        self.device = key.device
        self.sharing = sharing
        self.probing = probing
        self.start = start
        self.shapes: list[tuple[int, ...]] = []

    def chance(self, p: float) -> float:
        """Return the probability with which the masks of this pass drop."""
        return 0.5 if self.probing and 0 < p < 1 else p

    def numbers(
        self, kind: Numbers, shape: Iterable[int], device: torch.device | None = None
    ) -> Tensor:
        """Return the numbers of the next random call, which asks for such a shape."""
        call, shape = len(self.shapes), tuple(shape)
        self.shapes.append(shape)
        drawn = shape if self.sharing is None else self.sharing.drawn(call, shape)
        start = 0 if self.start is None else self.start(call, shape)
        found = numbers(self._keys.to(device) ^ draw_key(0, call), kind, drawn, start)
        if self.axis is not None:
            found = self.axis.hidden(found)
        return found if self.sharing is None else self.sharing.spread(call, found, shape)

    def integers(
        self, shape: Iterable[int], dtype: torch.dtype, device: torch.device | None = None
    ) -> Tensor:
        """Return integers of 8 to 64 bits, uniform over all values of `dtype`."""
        return self.numbers(_integers(dtype), shape, device)

    def in_the_open(self, compute: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        """Return what is computed of tensors, one of which depends on the draw.

        `compute` broadcasts from the right: where vmap hides draws, they are one more dimension on
        the left, as each call of torch costs several times as much under vmap.
        """
        axis = self.axis
        if axis is None or any(is_batchedtensor(x) and not axis.hides(x) for x in tensors):
            return compute(*tensors)
        ndim = max(x.ndim for x in tensors)
        return axis.hidden(compute(*(axis.shown(x, ndim) for x in tensors)))

    def in_rows(self) -> RowStream:
        """Return the same numbers for draws that are rows of one batch, and hidden no more."""
        rows = RowStream(self._keys, self.sharing)
        rows.probing, rows.shapes, rows.repeated = self.probing, self.shapes, True
        rows.start = self.start
        return rows

    def uniform(
        self,
        shape: Iterable[int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> Tensor:
        """Return multiples of 2⁻²⁴ from [0, 1), or of what `dtype` can tell apart below 1."""
        return self.numbers(_uniform(dtype), shape, device)

    def normal(
        self,
        shape: Iterable[int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> Tensor:
        """Return standard normal numbers, of size 6.3 at most, or 8.3 in double precision."""
        return self.numbers(_normal(dtype), shape, device)


class RowStream(Stream):
    """The random numbers of several draws, all rows of the first before those of the second.

    Attributes:
        draws: how many.
        repeated: whether what is asked for has rows of all of them; otherwise it has those of one,
            and gets the numbers of all on a dimension before.
    """

    def __init__(self, keys: Tensor, sharing: Sharing | None) -> None:
        if sharing is not None:
            spread = vmap(sharing.spread, in_dims=(None, 0, None))
            sharing = _OfEachDraw(sharing.drawn, spread)
        super().__init__(keys, sharing)
        self.draws = len(keys)
        self.repeated = False

    def numbers(
        self, kind: Numbers, shape: Iterable[int], device: torch.device | None = None
    ) -> Tensor:
        """Return the numbers of all draws."""
        if not self.repeated:
            return super().numbers(kind, shape, device)
        rows, *others = shape
        return super().numbers(kind, (rows // self.draws, *others), device).flatten(0, 1)


class _OfEachDraw(NamedTuple):
    """What examples share, for several draws at once."""

    drawn: Callable[[int, tuple[int, ...]], tuple[int, ...]]
    spread: Callable[[int, Tensor, tuple[int, ...]], Tensor]


@lru_cache
def _integers(dtype: torch.dtype) -> Numbers:
    return Numbers(dtype, 8 // dtype.itemsize, lambda words: words.view(dtype))


@lru_cache
def _uniform(dtype: torch.dtype) -> Numbers:
    bits, integers = _SIGNIFICANT[dtype], INTEGERS_AS_WIDE[dtype]

    def read(words: Tensor) -> Tensor:
        highest = words.view(integers) >> (8 * dtype.itemsize - bits)
        return highest.bitwise_and_(2**bits - 1).to(dtype).mul_(2.0**-bits)

    return Numbers(dtype, 8 // dtype.itemsize, read)


@lru_cache
def _normal(dtype: torch.dtype) -> Numbers:
    if dtype is torch.float64:
        return Numbers(dtype, 1, _by_inverse)
    return Numbers(dtype, 4, lambda words: _by_pairs(words).to(dtype))


def _by_inverse(words: Tensor) -> Tensor:
    """Return a normal number of each word, by the inverse of their law."""
    middles = (words >> 11).double().add_(0.5).mul_(2.0**-52)  # in (-1, 1)
    return middles.erfinv_().mul_(math.sqrt(2))


def _by_pairs(words: Tensor) -> Tensor:
    """Return four normal numbers of each word.

    A table knows one for each 16 bits. Two that are independent and normal are a point in the
    plane, and are so still when it is turned, which makes 2³² of their 2¹⁶ values.
    """
    places = words.view(torch.int16).int().add_(2**15)
    known = _table(words.device).index_select(0, places.view(-1))
    turned = known.view(torch.complex64).mul_(_TURN)
    return turned.view(torch.float32).view(places.shape)


@lru_cache(maxsize=16)
def _table(device: torch.device) -> Tensor:
    """Return the middles of 2¹⁶ parts of the normal law, which are equally probable."""
    places = torch.arange(2**16, dtype=torch.float64, device="cpu")
    middles: Tensor = torch.special.ndtri(places.add_(0.5).mul_(2.0**-16))
    middles[0], middles[-1] = -_OUTERMOST, _OUTERMOST
    return middles.div_(middles.square().mean().sqrt()).float().to(device)
