"""Random words: bits that know nothing of each other, whatever place, draw, call or seed."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from duda import random_words
from duda.random_words import Numbers, draw_key, draw_keys, numbers
from duda.streams import Stream

PLACES = 2**12
BLOCK = random_words._BLOCK
BITS = Numbers(torch.uint8, 8, lambda words: words.view(torch.uint8))
KEYS: dict[str, Callable[[], Tensor]] = {
    "draws": lambda: draw_keys(5, range(8)),
    "seeds": lambda: torch.tensor([draw_key(seed, 0) for seed in range(8)]),
    "calls": lambda: draw_keys(5, [0]) ^ torch.tensor([draw_key(0, call) for call in range(8)]),
}


def signs(keys: Tensor, places: int = PLACES, start: int = 0) -> Tensor:
    """Return the bits of words as 1 and -1, `(places, keys, 64)`."""
    of_keys = numbers(keys, BITS, (8 * places,), 8 * start).numpy()
    bits = np.unpackbits(of_keys.reshape(-1, places, 8), axis=2)
    return torch.from_numpy(2 * bits.swapaxes(0, 1).astype(np.float32) - 1)


def assert_independent(one: Tensor, other: Tensor) -> None:
    """Check that columns are uncorrelated, but those that are the same."""
    one, other = one.flatten(1), other.flatten(1)
    squares = ((one.T @ other) / math.sqrt(len(one))).square()
    if torch.equal(one, other):
        squares = squares[~torch.eye(len(squares), dtype=torch.bool)]
    assert stats.chi2.sf(float(squares.max()), 1) * squares.numel() > 1e-3
    assert float(squares.mean()) == pytest.approx(1, abs=6 * math.sqrt(2 / squares.numel()))


@pytest.mark.parametrize("kind", KEYS)
def test_bits_of_two_keys_are_independent(kind: str) -> None:
    bits = signs(KEYS[kind]())
    assert_independent(bits, bits)
    parities = bits[:, ::2] * bits[:, 1::2]  # of two draws
    assert_independent(parities, parities)
    assert_independent(parities[:, :2], bits[:, 4:])


def test_bits_of_one_word_are_independent_together_in_two_draws() -> None:
    # Without the second product, the lowest bits of both halves would show here.
    bits = signs(draw_keys(6, range(8)))
    for distance in (8, 32):
        both = (bits * bits.roll(distance, -1))[..., : 64 if distance == 8 else 32]
        assert_independent(both, both)


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 8, 64, 1024])
def test_bits_of_two_places_are_independent(lag: int) -> None:
    bits = signs(draw_keys(7, range(4)))
    assert_independent(bits[lag:], bits[:-lag])


def test_blocks_are_independent() -> None:
    blocks = [signs(draw_keys(8, range(4)), start=BLOCK * block) for block in range(3)]
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert_independent(blocks[one], blocks[other])


def test_bytes_and_their_runs_are_even() -> None:
    found = numbers(draw_keys(9, range(40)), BITS, (10_000,)).flatten().numpy()
    assert 1e-4 < stats.chisquare(np.bincount(found, minlength=256)).pvalue < 1 - 1e-4
    pairs = 256 * found[:-1:2].astype(int) + found[1::2]
    counts = np.bincount(pairs // 64, minlength=1024)
    assert 1e-4 < stats.chisquare(counts).pvalue < 1 - 1e-4
    above = found >= 128  # Wald & Wolfowitz 1940: runs of many numbers are normal
    up, down, runs = above.sum(), (~above).sum(), 1 + (above[1:] != above[:-1]).sum()
    mean = 1 + 2 * up * down / len(above)
    variance = (mean - 1) * (mean - 2) / (len(above) - 1)
    assert abs(runs - mean) < 4.5 * math.sqrt(variance)


@pytest.mark.parametrize("start", [0, 5, 8 * BLOCK - 9, 8 * BLOCK, 16 * BLOCK + 3])
@pytest.mark.parametrize("size", [1, 20, 8 * BLOCK + 11])
def test_numbers_are_those_of_their_places(
    start: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = draw_keys(10, range(3))
    whole = numbers(keys, BITS, (26 * BLOCK,))
    found = numbers(keys, BITS, (size,), start)
    assert torch.equal(found, whole[:, start : start + size])
    # As on a GPU, where there is no need to go block by block.
    monkeypatch.setattr(random_words, "_block_by_block", random_words._at_once)
    assert torch.equal(found, numbers(keys, BITS, (size,), start))


def normals(dtype: torch.dtype, draws: int = 40) -> Tensor:
    return torch.stack(
        [Stream(key).normal((10_000,), dtype) for key in draw_keys(11, range(draws))]
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normal_numbers_have_the_moments_and_neighbours_of_normal_ones(dtype: torch.dtype) -> None:
    found = normals(dtype).double()
    count = found.numel()
    for power, (moment, variance) in {1: (0, 1), 2: (1, 2), 3: (0, 15), 4: (3, 96)}.items():
        mean = float(found.pow(power).mean())
        assert mean == pytest.approx(moment, abs=4.5 * math.sqrt(variance / count))
    for change in (lambda x: x, lambda x: x.square() - 1, lambda x: x.abs() - x.abs().mean()):
        changed = change(found)
        changed = changed / changed.std()
        for lag in (1, 2, 3, 4, 5, 8):
            neighbours = (changed[:, lag:] * changed[:, :-lag]).mean()
            assert abs(float(neighbours)) < 4.5 / math.sqrt(count)
        table = torch.corrcoef(changed) - torch.eye(len(found), dtype=torch.float64)
        assert float(table.abs().max()) < 5 / math.sqrt(found.shape[1])


def test_normal_numbers_have_the_tails_of_their_law_to_five_deviations() -> None:
    # All 2³² that a pair of the table can be, counted, where a sample would have to be as large.
    from duda.streams import _TURN, _table

    table = np.sort(_table(torch.device("cpu")).double().numpy())
    assert np.array_equal(table, -table[::-1])
    for turned in (_TURN.real, _TURN.imag):
        other = math.sqrt(1 - turned**2)
        for size in (0.5, 1, 2, 3, 4, 4.5, 5):
            beyond = len(table) - np.searchsorted(table, (size - other * table) / turned)
            share = float(beyond.sum()) / len(table) ** 2
            assert share == pytest.approx(stats.norm.sf(size), rel=2e-2 if size > 3 else 1e-3)


def test_normal_numbers_take_as_many_values_as_single_precision_tells_apart() -> None:
    found = normals(torch.float32).flatten()
    assert len(found.unique()) > 0.99 * len(found)
    assert int((found == 0).sum()) == 0
