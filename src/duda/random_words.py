"""Random words by key and place: a hash, so that none of them depends on what was drawn before.

A draw's key is an output of SplitMix64 (Steele et al. 2014), and so is a number that each place
has: a counter-based generator (Salmon et al. 2011), whose counters are mixed once for all keys. A
key is put in by xor and a product, in which the high bits depend on all others; they are added to
the low ones, and a second product mixes what neighbouring bits have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Numbers", "draw_key", "draw_keys", "numbers"]

_STEP = 0x9E3779B97F4A7C15  # between the counters that are hashed: 2⁶⁴ over the golden ratio
_MIXING = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1))
_BLOCK = 2**15  # words that a processor's caches hold; places of the next have other keys


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


@dataclass(frozen=True)
class Numbers:
    """What is read of random words.

    Attributes:
        dtype: of the numbers.
        of_word: how many come of a word of 64 bits.
        read: from words `(..., n)`, which it may overwrite, to their numbers `(..., n * of_word)`.
    """

    dtype: torch.dtype
    of_word: int
    read: Callable[[Tensor], Tensor]


def numbers(keys: Tensor, kind: Numbers, shape: tuple[int, ...], start: int = 0) -> Tensor:
    """Return numbers of a kind for each key, `(*keys, *shape)`, after so many others.

    >>> bits = Numbers(torch.uint8, 8, lambda words: words.view(torch.uint8))
    >>> numbers(torch.tensor(7), bits, (2, 3)).tolist()
    [[114, 8, 178], [174, 69, 82]]
    """
    size = prod(shape)
    first, skipped = divmod(start, kind.of_word)
    last = first - (-(skipped + size) // kind.of_word)
    found = _read(keys.reshape(-1, 1), kind, first, last)
    if found.shape[1] != size:
        found = found[:, skipped : skipped + size]
    return found.reshape((*keys.shape, *shape))


def _read(keys: Tensor, kind: Numbers, first: int, last: int) -> Tensor:
    """Return what is read of the words from the first to before the last, for keys `(n, 1)`."""
    block = first // _BLOCK
    start = block * _BLOCK
    if last > start + _BLOCK:
        of_blocks = _block_by_block if keys.device.type == "cpu" else _at_once
        return of_blocks(keys, kind, first, last)
    return kind.read(_words(_of_block(keys, block), first - start, last - start))


def _at_once(keys: Tensor, kind: Numbers, first: int, last: int) -> Tensor:
    """Return the same, made of the words of whole blocks."""
    blocks = range(first // _BLOCK, -(-last // _BLOCK))
    own = torch.cat([_of_block(keys, block) for block in blocks], 1)
    found = kind.read(_words(own.view(-1, 1), 0, _BLOCK)).view(len(keys), -1)
    return found[:, slice(*(kind.of_word * (end - blocks[0] * _BLOCK) for end in (first, last)))]


def _block_by_block(keys: Tensor, kind: Numbers, first: int, last: int) -> Tensor:
    """Return the same, made of so many words at a time that they stay in a processor's caches."""
    found = torch.empty(len(keys), kind.of_word * (last - first), dtype=kind.dtype)
    for start in range(first // _BLOCK * _BLOCK, last, _BLOCK):
        own, ends = _of_block(keys, start // _BLOCK), (max(first, start), min(last, start + _BLOCK))
        columns = slice(*(kind.of_word * (end - first) for end in ends))
        rows = _BLOCK // (ends[1] - ends[0])
        for row in range(0, len(keys), rows):
            words = _words(own[row : row + rows], ends[0] - start, ends[1] - start)
            found[row : row + rows, columns] = kind.read(words)
    return found


def _of_block(keys: Tensor, block: int) -> Tensor:
    """Return the keys for the places of a block."""
    return keys ^ draw_key(1, block) if block else keys


def _words(keys: Tensor, first: int, last: int) -> Tensor:
    """Return 64 random bits for each key `(n, 1)` and some places of a block."""
    z = (_places(first, last, keys.device) ^ keys).mul_(keys | 1)
    z.add_(z >> 32)
    return z.mul_(_signed(_STEP))


@lru_cache(maxsize=64)
def _places(first: int, last: int, device: torch.device) -> Tensor:
    """Return the numbers of some places of a block, which nobody may write to."""
    return _first_places(1 << (last - 1).bit_length(), device)[first:last]


@lru_cache(maxsize=64)
def _first_places(size: int, device: torch.device) -> Tensor:
    return draw_keys(0, range(size)).to(device)


def _signed(number: int) -> int:
    """Return the int64 that has the lowest 64 bits of `number`."""
    return (number + 2**63) % 2**64 - 2**63
