"""Confident learning finds the labels that were flipped, in any order of examples and classes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from duda.difficulty import label_errors

# Thresholds are 0.725, 0.56 and 0.5.
PROBS = np.array(
    [
        [0.80, 0.10, 0.10],
        [0.65, 0.05, 0.30],
        [0.10, 0.70, 0.20],
        [0.15, 0.60, 0.25],
        [0.78, 0.11, 0.11],
        [0.05, 0.15, 0.80],
        [0.20, 0.58, 0.22],
        [0.02, 0.98, 0.00],
        [0.01, 0.01, 0.98],
    ]
)
LABELS = np.array([0, 0, 1, 1, 1, 2, 2, 1, 2])


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n, classes = draw(st.integers(1, 25)), draw(st.integers(2, 4))
    # Few distinct numbers, so that there are ties.
    weights = draw(arrays(np.int64, (n, classes), elements=st.integers(0, 3))) + 1
    y = draw(arrays(np.int64, n, elements=st.integers(0, classes - 1)))
    return weights / weights.sum(1, keepdims=True), y


def test_by_hand() -> None:
    found = label_errors(PROBS, LABELS)
    assert found.thresholds.tolist() == pytest.approx([0.725, 0.5975, 2.0 / 3])
    assert found.belongs_to.tolist() == [0, -1, 1, 1, 0, 2, -1, 1, 2]
    assert found.confident_joint.tolist() == [[1, 0, 0], [1, 3, 0], [0, 0, 2]]
    assert found.confident_joint.dtype == torch.int64
    assert found.suspect.nonzero().squeeze(1).tolist() == [4]
    assert found.candidates().tolist() == [4]
    assert repr(found) == "LabelErrors(1 suspect of 9 labels)"


def slow(probs: np.ndarray, y: np.ndarray) -> tuple[list[list[int]], list[int]]:
    """Return the confident joint and the suspects by Northcutt et al. 2021, eq. 1, in words."""
    classes = probs.shape[1]
    joint, suspects = np.zeros((classes, classes), dtype=int), []
    thresholds = [probs[y == j, j].mean() if (y == j).any() else math.inf for j in range(classes)]
    for i, label in enumerate(y):
        reached = [j for j in range(classes) if probs[i, j] >= thresholds[j] - 1e-12]
        if reached:
            best = max(reached, key=lambda j: (probs[i, j], j == label, -j))
            joint[label, best] += 1
            if best != label:
                suspects.append(i)
    return joint.tolist(), suspects


@given(cases())
def test_brute_force(case: tuple[np.ndarray, np.ndarray]) -> None:
    joint, suspects = slow(*case)
    found = label_errors(*case)
    assert found.confident_joint.tolist() == joint
    assert found.suspect.nonzero().squeeze(1).tolist() == suspects


@given(cases(), st.integers(0, 99))
def test_order_means_nothing(case: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    probs, y = case
    order = np.random.default_rng(seed).permutation(len(y))
    one, other = label_errors(probs, y), label_errors(probs[order], y[order])
    assert torch.equal(one.thresholds, other.thresholds)
    assert torch.equal(one.confident_joint, other.confident_joint)
    assert torch.equal(one.belongs_to[torch.from_numpy(order)], other.belongs_to)
    assert sorted(order[other.candidates().numpy()].tolist()) == sorted(one.candidates().tolist())


@given(cases(), st.integers(0, 99))
def test_names_of_classes_mean_nothing(case: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    probs, y = case
    order = np.random.default_rng(seed).permutation(probs.shape[1])
    one, other = label_errors(probs, y), label_errors(probs[:, order], order.argsort()[y])
    assert torch.equal(one.suspect, other.suspect)
    assert torch.equal(one.thresholds[order], other.thresholds)


@given(cases())
def test_candidates_are_ranked(case: tuple[np.ndarray, np.ndarray]) -> None:
    found = label_errors(*case)
    for by in ("normalized_margin", "self_confidence"):
        quality = getattr(found, by)[found.candidates(by)]
        assert bool((quality.diff() >= 0).all())
        assert len(quality) == int(found.suspect.sum())


def test_cleanlab() -> None:
    # cleanlab 2.9.0: compute_confident_joint(calibrate=False), and find_label_issues(
    # filter_by="confident_learning", return_indices_ranked_by="normalized_margin")
    rng = np.random.default_rng(0)
    truth, flipped = rng.integers(6, size=2000), rng.random(2000) < 0.15
    y = np.where(flipped, (truth + rng.integers(1, 6, size=2000)) % 6, truth)
    logits = rng.normal(size=(2000, 6))
    logits[np.arange(2000), truth] += 2.5
    found = label_errors(y=y, logits=logits)
    assert found.confident_joint.tolist() == [
        [162, 4, 10, 9, 9, 12],
        [6, 187, 11, 14, 4, 7],
        [7, 6, 173, 12, 11, 5],
        [10, 8, 12, 199, 9, 8],
        [10, 9, 9, 10, 185, 9],
        [5, 12, 13, 2, 17, 195],
    ]
    assert found.candidates()[:8].tolist() == [502, 1556, 616, 1764, 276, 109, 1693, 220]
    assert found.normalized_margin.sum() == pytest.approx(1250.2728573300483, abs=1e-9)


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.3])
def test_planted_errors_are_found(rate: float) -> None:
    rng = np.random.default_rng(0)
    n, classes = 3000, 5
    truth = rng.integers(classes, size=n)
    flipped = rng.random(n) < rate
    y = np.where(flipped, (truth + rng.integers(1, classes, size=n)) % classes, truth)
    logits = rng.normal(size=(n, classes))
    logits[np.arange(n), truth] += 8
    found = label_errors(y=y, logits=logits)
    suspect = found.suspect.numpy()
    assert suspect[flipped].mean() > 0.99 - rate  # those that stay below a mean are not sure
    assert flipped[suspect].mean() > 0.99
    off_diagonal = int(found.confident_joint.sum() - found.confident_joint.trace())
    assert off_diagonal == suspect.sum()


def test_of_equal_classes_the_label_counts() -> None:
    assert len(label_errors([[0.5, 0.5]] * 4, [0, 1, 1, 0]).candidates()) == 0
    # 0.1 is not 3 * 0.1 / 3 in floating point, but it is the mean of three of itself
    found = label_errors([[0.1, 0.9]] * 3, [0, 0, 0])
    assert found.belongs_to.tolist() == [0, 0, 0]


def test_nothing_belongs_to_a_class_without_labels() -> None:
    found = label_errors([[0.1, 0.2, 0.7], [0.9, 0.1, 0.0]], [1, 0])
    assert found.thresholds.tolist() == [0.9, 0.2, math.inf]
    assert found.belongs_to.tolist() == [1, 0]


def test_logits_are_probabilities() -> None:
    one = label_errors(PROBS, LABELS)
    other = label_errors(y=LABELS, logits=np.log(PROBS.clip(1e-300)))
    torch.testing.assert_close(one.normalized_margin, other.normalized_margin)
    assert torch.equal(one.confident_joint, other.confident_joint)


@pytest.mark.parametrize(
    ("probs", "y", "message"),
    [
        ([[0.5, 0.6]], [0], "`probs` sums over dimension 1"),
        ([[math.nan, 0.5]], [0], "`probs` has 1 NaN"),
        (np.empty((0, 2)), np.empty(0, dtype=int), "`probs` .* is empty"),
        ([[0.5, 0.5]], [2], "`y` holds the label 2"),
        ([[0.5, 0.5]], [0.0], "`y` has dtype torch.float64"),
        ([[0.5, 0.5]], [0, 1], r"`y` has shape \(2,\), expected \(1,\)"),
        (np.full((2, 2, 3), 0.5), np.zeros((2, 3), dtype=int), "expected .N, C.: move positions"),
    ],
)
def test_bad_input(probs: Any, y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        label_errors(probs, y)


def test_an_unknown_order() -> None:
    with pytest.raises(ValueError, match="`by` is 'entropy', expected 'normalized_margin' or"):
        label_errors(PROBS, LABELS).candidates("entropy")  # type: ignore[arg-type]
