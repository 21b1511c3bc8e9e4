import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import trapezoid

from duda.evaluation import accuracy_above, selective

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
    found = selective(SCORE, ERROR)
    assert found.best_aurc == pytest.approx(0.375 + 0.625 * math.log(0.625), abs=1e-12)
    assert found.eaurc == pytest.approx(0.11748738732620351, abs=1e-12)


def test_generalized_risks_of_fd_shifts():
    found = selective(SCORE, ERROR)
    assert found.generalized_risks.tolist() == [0, 0, 0, 1 / 8, 1 / 8, 1 / 8, 1 / 4, 1 / 4, 3 / 8]
    assert found.augrc == pytest.approx(0.1328125, abs=1e-12)


def test_area_of_prefixes_of_mapie():
    found = selective(SCORE, ERROR)
    assert found.aurc_of_prefixes == pytest.approx(0.22217261904761898, abs=1e-12)
    # torch-uncertainty divides a trapezoid by 1 - 1/n: a third number for the same examples
    assert not math.isclose(found.aurc, 0.22712585034013605, abs_tol=1e-3)


def test_areas_where_all_are_tied():
    found = selective([0.5] * 4, [0, 1, 0, 1])
    # MAPIE's mean over prefixes is 1/3 for these, and 2/3 for the other order
    assert found.aurc_of_prefixes == 0.5
    assert found.augrc == 0.25


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


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0, 5)), min_size=1, max_size=5))
def test_area_of_prefixes_is_the_mean_over_orders_of_ties(points):
    areas = [
        np.mean([np.mean([loss for _, loss in order[: k + 1]]) for k in range(len(order))])
        for order in itertools.permutations(points)
        if [score for score, _ in order] == sorted(score for score, _ in points)
    ]
    assert curve(points).aurc_of_prefixes == pytest.approx(np.mean(areas), abs=1e-9)


@given(pairs, st.randoms(use_true_random=False))
def test_order_means_nothing_for_any_area(points, random):
    one, other = curve(points), curve(random.sample(points, len(points)))
    for name in ("aurc_of_prefixes", "augrc", "eaurc", "best_aurc"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-9)


@given(st.lists(st.floats(0, 5), min_size=1, max_size=6))
def test_best_area_is_that_of_endless_data(losses):
    many = np.repeat(np.sort(losses), 20_000)
    expected = np.mean(np.cumsum(many) / np.arange(1, len(many) + 1))
    assert selective(range_of(losses), losses).best_aurc == pytest.approx(expected, abs=1e-3)


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_generalized_area_of_errors(errors, random):
    # Traub et al. 2024: (1 - AUROC) accuracy (1 - accuracy) + (1 - accuracy)^2 / 2
    scores = [random.randint(0, 3) for _ in errors]
    wrong = np.array(errors)
    gaps = np.subtract.outer(np.array(scores)[wrong], np.array(scores)[~wrong])
    missed = ((gaps < 0).sum() + (gaps == 0).sum() / 2) / len(errors) ** 2
    expected = missed + wrong.mean() ** 2 / 2
    assert selective(scores, errors).augrc == pytest.approx(expected, abs=1e-9)


@given(pairs, st.floats(0.01, 1))
def test_threshold_at(points, coverage):
    scores = np.array([score for score, _ in points])
    threshold = curve(points).threshold_at(coverage)
    assert (scores <= threshold).mean() >= coverage
    assert (scores < threshold).mean() < coverage


@pytest.mark.parametrize("coverage", [0.0, -1, 1.01, math.nan])
def test_bad_coverage(coverage):
    with pytest.raises(ValueError, match="`coverage` is"):
        selective(SCORE, ERROR).threshold_at(coverage)


@given(st.lists(st.tuples(st.integers(0, 10).map(lambda k: k / 10), st.booleans()), min_size=1))
def test_accuracy_above(points):
    confidence, correct = (np.array(part) for part in zip(*points, strict=True))
    found = accuracy_above(confidence, correct)
    assert found.levels.tolist() == [k / 100 for k in range(101)]
    for level, accepted, hits in zip(found.levels, found.accepted, found.hits, strict=True):
        sure = confidence >= float(level)
        assert int(accepted) == sure.sum()
        assert int(hits) == correct[sure].sum()


def test_accuracy_where_nobody_is_so_sure():
    found = accuracy_above([0.2, 0.6], [False, True], levels=[0.0, 0.5, 0.9])
    assert found.accuracy[:2].tolist() == [0.5, 1.0]
    assert math.isnan(found.accuracy[2])


@pytest.mark.parametrize(
    ("confidence", "correct", "message"),
    [
        ([math.nan], [1], "`confidence` has 1 NaN"),
        ([], [], "`confidence` .* is empty"),
        ([0.5], [2], "`correct` holds 2"),
        ([0.5], [1, 0], r"`correct` has shape \(2,\)"),
    ],
)
def test_bad_confidence(confidence, correct, message):
    with pytest.raises(ValueError, match=message):
        accuracy_above(confidence, correct)


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


def test_images_by_confidence(cifar):
    probs, labels = cifar
    found = accuracy_above(probs.max(1), probs.argmax(1) == labels)
    assert found.accuracy[0] == pytest.approx(0.9109)
    assert found.accuracy[99] > 0.97
    assert (found.accepted.diff() <= 0).all()
