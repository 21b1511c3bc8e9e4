import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import trapezoid

from duda.evaluation import selective

SCORE = -np.array([0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.55, 0.4])
ERROR = [0, 0, 1, 0, 0, 1, 0, 1]

pairs = st.lists(
    st.tuples(st.one_of(st.integers(0, 4).map(float), st.floats(-10, 10)), st.floats(0, 5)),
    min_size=1,
    max_size=40,
)


def curve(points):
    return selective(*zip(*points, strict=True))


def test_curve_of_fd_shifts():
    # fd-shifts c4467ae, which lists it from full coverage down
    found = selective(SCORE, ERROR)
    assert found.coverages.tolist() == [k / 8 for k in range(9)]
    expected = [0, 0, 0, 1 / 3, 1 / 4, 1 / 5, 1 / 3, 2 / 7, 3 / 8]
    assert found.risks.tolist() == pytest.approx(expected, abs=1e-12)


def test_excess_area_of_fd_shifts():
    # its e-AURC is the area above that of the best score, r + (1 - r) ln(1 - r)
    best = 0.375 + 0.625 * math.log(0.625)
    assert selective(SCORE, ERROR).aurc - best == pytest.approx(0.11748738732620351, abs=1e-12)


@pytest.mark.parametrize(
    ("score", "error", "expected"),
    [
        ([-0.9, -0.8, -0.7], [0, 0, 0], 0.0),
        ([0.5] * 4, [0, 1, 0, 1], 0.5),
        ([-0.9], [1], 1.0),
    ],
    ids=["all right", "all tied", "one example"],
)
def test_area_of_fd_shifts(score, error, expected):
    assert selective(score, error).aurc == expected


@settings(deadline=None)
@given(pairs)
def test_brute_force(points):
    score, loss = (np.array(part) for part in zip(*points, strict=True))
    found = selective(score, loss)
    accepted = [score <= threshold for threshold in np.unique(score)]
    assert found.coverages[1:].tolist() == [chosen.mean() for chosen in accepted]
    assert found.risks[1:].tolist() == pytest.approx([loss[c].mean() for c in accepted], abs=1e-9)
    assert found.aurc == pytest.approx(trapezoid(found.risks, found.coverages), abs=1e-9)


@settings(deadline=None)
@given(pairs, st.randoms(use_true_random=False))
def test_order_means_nothing(points, random):
    one, other = curve(points), curve(random.sample(points, len(points)))
    assert torch.equal(one.coverages, other.coverages)
    assert one.aurc == pytest.approx(other.aurc, abs=1e-9)


@settings(deadline=None)
@given(pairs)
def test_ends(points):
    found = curve(points)
    assert found.coverages[0] == 0
    assert found.coverages[-1] == 1
    assert found.risks[-1] == pytest.approx(np.mean([loss for _, loss in points]), abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_no_score_beats_the_loss_itself(errors):
    best = selective(range_of(errors), sorted(errors))
    worst = selective(range_of(errors), sorted(errors, reverse=True))
    assert best.aurc <= selective(range_of(errors), errors).aurc + 1e-12
    assert selective(range_of(errors), errors).aurc <= worst.aurc + 1e-12


def range_of(values):
    return [float(i) for i in range(len(values))]


def test_a_constant_score_keeps_the_mean_loss():
    assert selective([2.0, 2.0, 2.0], [1.0, 0.5, 0.0]).aurc == 0.5


def test_infinite_scores_come_last():
    assert selective([math.inf, 0.0], [1, 0]).risks.tolist() == [0, 0, 0.5]


@pytest.mark.parametrize(
    ("score", "loss", "message"),
    [
        ([math.nan], [0], "`score` has 1 NaN"),
        ([0.1], [math.nan], "`loss` has 1 NaN"),
        ([0.1], [math.inf], "`loss` has 0 NaN and 1 infinite"),
        ([], [], "`score` .* is empty"),
        ([0.1, 0.2], [[0], [1]], r"`loss.squeeze\(1\)`"),
    ],
)
def test_bad_input(score, loss, message):
    with pytest.raises(ValueError, match=message):
        selective(score, loss)


def test_real_images(cifar):
    probs, labels = cifar
    wrong = probs.argmax(1) != labels
    found = selective(1 - probs.max(1), wrong)
    assert found.risks[-1] == pytest.approx(1 - 0.9109)
    assert found.aurc < 0.3 * float(found.risks[-1])
