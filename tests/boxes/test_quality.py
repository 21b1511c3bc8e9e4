"""PDQ: against loops and scipy, its laws, and pictures with nothing in them."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from duda.boxes import BoxPrediction, detection_quality
from duda.boxes.heat import heat

EMPTY = BoxPrediction([], torch.zeros(0, 2))
NOTHING = (torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
SIZE = (24, 30)


def boxes_of(rng: np.random.Generator, count: int) -> np.ndarray:
    corner = rng.integers(0, 12, (count, 2))
    return np.hstack([corner, corner + rng.integers(3, 11, (count, 2))]).astype(float)


def covariances(rng: np.random.Generator, count: int, rank: int) -> np.ndarray:
    root = rng.normal(size=(count, 4, rank))
    return root @ root.transpose(0, 2, 1)


@pytest.mark.parametrize("rank", [1, 2, 4])  # of one, the coordinates of corners are one number
def test_heat_is_the_chance_that_a_pixel_is_between_two_corners(rank: int) -> None:
    rng = np.random.default_rng(rank)
    spread = covariances(rng, 1, rank)
    said = BoxPrediction([[6.2, 5.0, 20.1, 15.5]], [[1.0]], spread)
    found = heat(said, *SIZE)
    box = said.boxes[0].numpy()
    for row, column in rng.integers(0, SIZE, (60, 2)):
        center = np.array([column, row]) + 0.5
        after = multivariate_normal(box[:2], spread[0, :2, :2], allow_singular=True).cdf(center)
        last = multivariate_normal(-box[2:], spread[0, 2:, 2:], allow_singular=True).cdf(-center)
        wanted = after * last if after * last >= 0.0027 else 0.0
        assert float(found[row, column]) == pytest.approx(wanted, abs=3e-5)


def by_loops(said: BoxPrediction, truth: tuple[np.ndarray, np.ndarray]) -> tuple[float, int]:
    """Return the sum of qualities of the best pairs of one picture, and how many these are."""
    quality = np.zeros((len(said), len(truth[0])))
    for k in range(len(said)):
        chance = heat(said[k], *SIZE).numpy()
        for i, (left, top, right, bottom) in enumerate(truth[0]):
            inside = outside = 0.0
            pixels = 0
            for row in range(SIZE[0]):
                for column in range(SIZE[1]):
                    if left <= column + 0.5 < right and top <= row + 0.5 < bottom:
                        inside += math.log(max(chance[row, column], 1e-14))
                        pixels += 1
                    else:
                        outside += math.log(max(1 - chance[row, column], 1e-14))
            spatial = math.exp((inside + outside) / pixels)
            label = float(said.probs[k, truth[1][i]])
            quality[k, i] = math.sqrt(spatial * label) if spatial >= 1e-8 else 0.0
    small = quality if len(quality) <= quality.shape[1] else quality.T
    ways = permutations(range(small.shape[1]), len(small))
    best = max(ways, key=lambda way: sum(small[k, i] for k, i in enumerate(way)))
    chosen = [small[k, i] for k, i in enumerate(best)]
    return sum(chosen), sum(each > 0 for each in chosen)


def test_against_loops_over_pixels_and_pairs() -> None:
    rng = np.random.default_rng(0)
    pictures, truths, total, pairs, objects = [], [], 0.0, 0, 0
    for count, more in ((3, 0), (2, 2), (4, -1)):
        true = boxes_of(rng, count), rng.integers(0, 2, count)
        near = np.vstack([true[0], boxes_of(rng, 2)])[: count + more]
        near = near + rng.normal(size=near.shape) * 0.3
        probs = rng.dirichlet([1, 1, 1], len(near))[:, :2]
        said = BoxPrediction(near, probs, covariances(rng, len(near), 4) * 0.5)
        quality, matched = by_loops(said, true)
        pictures.append(said)
        truths.append(true)
        total, pairs, objects = total + quality, pairs + matched, objects + len(near) + count
    found = detection_quality(pictures, truths, SIZE)
    assert len(found.label) == pairs
    assert found.pdq == pytest.approx(total / (objects - pairs))


@given(st.integers(0, 999), st.integers(0, 4), st.integers(0, 4), st.sampled_from([0, 1, 4]))
@settings(max_examples=30, deadline=None)
def test_it_is_a_share_and_whoever_is_perfect_has_1(
    seed: int, count: int, said: int, rank: int
) -> None:
    rng = np.random.default_rng(seed)
    true = boxes_of(rng, count), rng.integers(0, 2, count)
    spread = covariances(rng, said, rank) if rank else np.zeros((said, 4))
    given = BoxPrediction(boxes_of(rng, said), rng.dirichlet([1, 1, 1], said)[:, :2], spread)
    found = detection_quality([given], [true], SIZE)
    assert math.isnan(found.pdq) if not count + said else 0 <= found.pdq <= 1
    assert len(found.label) + found.false == said
    assert len(found.label) + found.missed == count
    perfect = BoxPrediction(true[0], np.eye(2)[true[1]])
    if count:
        assert detection_quality([perfect], [true], [SIZE]).pdq == 1
        doubled = detection_quality([perfect, perfect], [true, NOTHING], SIZE)
        assert doubled.pdq == pytest.approx(0.5)


def test_the_right_spread_is_better_than_none_or_too_much() -> None:
    rng = np.random.default_rng(3)
    true = [(boxes_of(rng, 1), [0]) for _ in range(60)]
    off = [each[0] + rng.normal(size=(1, 4)) * 0.7 for each in true]

    def score(variance: float) -> float:
        said = [BoxPrediction(box, [[1.0]], np.full((1, 4), variance)) for box in off]
        return detection_quality(said, true, SIZE).pdq

    assert score(0.49) > max(score(0.001), score(20.0))


def test_pictures_with_nothing_in_them() -> None:
    box = ([[2.0, 2, 6, 6]], [1])
    assert detection_quality([EMPTY], [box], SIZE).pdq == 0
    assert detection_quality([BoxPrediction(box[0], [[0.2, 0.8]])], [NOTHING], SIZE).false == 1
    assert math.isnan(detection_quality([EMPTY], [NOTHING], SIZE).pdq)


@pytest.mark.parametrize(
    ("size", "box", "message"),
    [
        ((24, 30), [40.0, 2, 50, 6], r"`truths\[0\]` has a box .* without a pixel in its picture"),
        ((24, 30), [4.6, 2, 5.4, 6], r"`truths\[0\]` has a box .* without a pixel in its picture"),
        ([(24, 30)] * 2, [2.0, 2, 6, 6], "`size` is .* expected the height and the width of all 1"),
        ((0, 30), [2.0, 2, 6, 6], "`size` is 0"),
    ],
)
def test_bad_input_is_one_sentence(size: object, box: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        detection_quality([BoxPrediction([box], [[0.5]])], [([box], [0])], size)  # type: ignore[arg-type]
