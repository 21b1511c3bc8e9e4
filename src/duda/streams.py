"""Random numbers by draw, call and place, which are the same whatever is drawn beside them.

Number i of a draw's k-th random call is a hash of the seed, the draw's number, k and i. So draws
may be taken in any order, some at once or one by one, here or on a GPU, and the numbers of a row
do not depend on how many rows there are. The hash is that of SplitMix64 (Steele et al. 2014,
variant 13 of its mixing function), used as a counter-based generator (Salmon et al. 2011).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, wraps
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch._C._functorch import is_batchedtensor
from torch.func import vmap

from duda.draw_axis import Axis

__all__ = [
    "RowStream",
    "Sharing",
    "Stream",
    "draw_generator",
    "draw_key",
    "draw_keys",
    "new_seed",
    "unseen",
]

P = ParamSpec("P")
R = TypeVar("R")

_STEP = 0x9E3779B97F4A7C15  # between the counters that are hashed: 2⁶⁴ over the golden ratio
_MIXING = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))
_CACHED_WORDS = 2**15  # more than these of one draw are made draw by draw, in the CPU's caches
_SIGNIFICANT = {torch.float64: 53, torch.float32: 24, torch.float16: 11, torch.bfloat16: 8}


def new_seed() -> int:
    """Return a seed for `random_draws` from torch's global generator."""
    seed: Any = torch.randint(2**63 - 1, ()).tolist()  # no call of torch more, as `item` is
    return int(seed)


def draw_key(seed: int, number: int) -> int:
    """Return what all randomness of a draw follows from: 64 bits, as a signed integer.

    >>> draw_key(0, 0), draw_key(0, 1)
    (-2152535657050944081, 7960286522194355700)
    """
    z = (seed + _STEP * (number + 1)) % 2**64
    for shift, factor in _MIXING:
        z = (z ^ z >> shift) * factor % 2**64
    return _signed(z)


def draw_keys(seed: int, numbers: Sequence[int] | Tensor) -> Tensor:
    """Return the keys of several draws, like their numbers on the CPU.

    They are few, for which numpy is several times faster than a call of torch for each step.
    """
    z: Any = (np.asarray(numbers).astype(np.uint64) + 1) * _STEP + seed % 2**64
    for shift, factor in _MIXING:
        z = (z ^ z >> shift) * factor
    return torch.from_numpy(z.view(np.int64))


def draw_generator(seed: int, number: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator for what a method draws by itself, which depends on seed and draw alone.

    >>> torch.randn(2, generator=draw_generator(0, number=1)).shape
    torch.Size([2])
    """
    return torch.Generator(device).manual_seed(draw_key(seed, number))


def unseen(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function whose calls of torch no mode gets to see, which each would take its time.

    >>> unseen(torch.add)(1, torch.tensor(2))
    tensor(3)
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with torch._C.DisableTorchFunction():
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

    def integers(
        self,
        shape: Iterable[int],
        dtype: torch.dtype,
        device: torch.device | None = None,
        change: Callable[[Tensor], Tensor] = lambda numbers: numbers,
    ) -> Tensor:
        """Return integers of 8 to 64 bits, uniform over all values of `dtype`, changed."""
        call, shape = len(self.shapes), tuple(shape)
        self.shapes.append(shape)
        drawn = shape if self.sharing is None else self.sharing.drawn(call, shape)
        start = 0 if self.start is None else self.start(call, shape)
        numbers = change(_integers(self._keys.to(device), call, drawn, dtype, start))
        if self.axis is not None:
            numbers = self.axis.hidden(numbers)
        return numbers if self.sharing is None else self.sharing.spread(call, numbers, shape)

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
        bits = _SIGNIFICANT[dtype]

        def to_uniform(numbers: Tensor) -> Tensor:
            shift = 8 * numbers.dtype.itemsize - bits
            highest = (numbers >> shift).bitwise_and_(2**bits - 1)
            return highest.to(dtype).mul_(2.0**-bits)

        return self.integers(shape, _integer_type(dtype), device, to_uniform)

    def normal(
        self,
        shape: Iterable[int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> Tensor:
        """Return standard normal numbers, of size 5.4 at most, or 8.3 in double precision."""
        bits = max(_SIGNIFICANT[dtype], 24)
        wide = torch.float64 if dtype is torch.float64 else torch.float32

        def to_normal(numbers: Tensor) -> Tensor:
            shift = 8 * numbers.dtype.itemsize - bits
            middles = (numbers >> shift).to(wide).add_(0.5).mul_(2.0 ** (1 - bits))  # in (-1, 1)
            return middles.erfinv_().mul_(math.sqrt(2)).to(dtype)

        return self.integers(shape, _integer_type(dtype), device, to_normal)


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


class _OfEachDraw(NamedTuple):
    """What examples share, for several draws at once."""

    drawn: Callable[[int, tuple[int, ...]], tuple[int, ...]]
    spread: Callable[[int, Tensor, tuple[int, ...]], Tensor]


def _integer_type(dtype: torch.dtype) -> torch.dtype:
    return torch.int64 if dtype is torch.float64 else torch.int32


def _integers(
    keys: Tensor, call: int, shape: tuple[int, ...], dtype: torch.dtype, start: int
) -> Tensor:
    """Return integers of a call for each key, `(*keys, *shape)`, after so many others."""
    size, of_word = math.prod(shape), 8 // dtype.itemsize
    first, skipped = divmod(start, of_word)
    words = _words(keys ^ draw_key(0, call), first, -(-(skipped + size) // of_word))
    numbers = words.view(dtype)
    if numbers.shape[-1] != size:
        numbers = numbers[..., skipped : skipped + size]
    return numbers.reshape((*keys.shape, *shape))


def _words(keys: Tensor, first: int, size: int) -> Tensor:
    """Return 64 random bits for each key and place from the first one on, `(*keys, size)`."""
    places = (_known_places if size <= _CACHED_WORDS else _places)(first, size, keys.device)
    if keys.ndim == 0 or size <= _CACHED_WORDS or keys.device.type != "cpu":
        return _mixed(places + keys.unsqueeze(-1))
    words = torch.empty(len(keys), size, dtype=torch.int64)
    for row, key in zip(words, keys, strict=True):
        _mixed(torch.add(places, key, out=row))
    return words


def _places(first: int, size: int, device: torch.device) -> Tensor:
    """Return what is added to a key for each place, which nobody may write to."""
    return torch.arange(first + 1, first + size + 1, device=device).mul_(_signed(_STEP))


_known_places = lru_cache(maxsize=16)(_places)


def _mixed(z: Tensor) -> Tensor:
    """Return the hashes of 64-bit numbers, written over them."""
    for shift, factor in _MIXING:
        # Integers are signed here, and shifting them copies the sign, which is masked again.
        z.bitwise_xor_((z >> shift).bitwise_and_(2 ** (64 - shift) - 1))
        if factor > 1:
            z.mul_(_signed(factor))
    return z


def _signed(number: int) -> int:
    """Return the int64 that has the lowest 64 bits of `number`."""
    return (number + 2**63) % 2**64 - 2**63
