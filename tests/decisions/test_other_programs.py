"""Sets, intervals and shares as other programs write them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from duda import ClassPrediction
from duda.decisions import (
    BetaCalibration,
    ConformalClassifier,
    ConformalRegressor,
    Gate,
    HistogramBinning,
    Isotonic,
    MatrixScaling,
    PredictionIntervals,
    PredictionSets,
    Temperature,
    VectorScaling,
    conformal_quantile,
)
from duda.decisions.conformal.quantile import conformal_rank

RANDOM = np.random.default_rng(0)
SETS, LABELS = RANDOM.random((1000, 10)) < 0.5, RANDOM.integers(0, 10, 1000)

AS = {
    "bool": lambda sets: torch.from_numpy(sets),
    "numpy": lambda sets: sets,
    "lists": lambda sets: sets.tolist(),
    "lists of integers": lambda sets: sets.astype(int).tolist(),
    "fortran": lambda sets: np.asfortranarray(sets.astype(np.int64)),
    **{
        str(dtype): (lambda sets, dtype=dtype: torch.from_numpy(sets).to(dtype))
        for dtype in (torch.int64, torch.int32, torch.uint8, torch.int8, torch.float32)
    },
    **{
        f"numpy {kind}": (lambda sets, kind=kind: sets.astype(kind))
        for kind in ("int64", "uint16", "float64", ">i4")
    },
}


@pytest.mark.parametrize("calibration", [99, [99], np.array([99]), torch.tensor([99]), 99.0])
@pytest.mark.parametrize("kind", AS)
def test_sets_of_any_kind_are_counted_alike(kind: str, calibration: Any) -> None:
    found = PredictionSets(AS[kind](SETS), 0.1, calibration)
    by_hand = SETS[np.arange(1000), LABELS]
    assert found.coverage(LABELS) == by_hand.mean()
    assert found.sizes.tolist() == SETS.sum(1).tolist()
    summary = found.summary(LABELS)
    assert summary.mean_size == SETS.sum() / 1000
    for label in range(10):
        assert float(summary.by_class.observed[label]) == by_hand[label == LABELS].mean()
    str(summary)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[2, 0]], 0.1, 9), "`sets` holds 2, expected booleans or 0 and 1"),
        (([[0.5, 0.0]], 0.1, 9), "`sets` holds 0.5, expected booleans or 0 and 1"),
        (([[np.nan, 0.0]], 0.1, 9), "`sets` holds nan"),
        (([True, False], 0.1, 9), r"`sets` has shape \(2,\), expected \(N, C\)"),
        (([[[1], [0]]], 0.1, 9), r"`sets` has shape \(1, 2, 1\), expected \(N, C\)"),
        (([[1, 0]], 1.5, 9), "`alpha` is 1.5"),
        (([[1, 0]], 0.1, [9, 9, 9]), "`calibration` is .* one for each of 2 thresholds, by class"),
        (([[1, 0]], 0.1, -3), "`calibration` is -3"),
        (([[1, 0]], 0.1, 2.5), "`calibration` is 2.5"),
    ],
)
def test_what_are_no_sets_is_told(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PredictionSets(*arguments)


@pytest.mark.parametrize("kind", [list, np.array, np.float32, torch.tensor, np.int64])
def test_intervals_of_any_kind_are_counted_alike(kind: Any) -> None:
    lower, upper = kind([0, 5_000_000, 3]), kind([1, 5_000_001, 3])
    found = PredictionIntervals(lower, upper, 0.1, 99)
    assert found.coverage([0.5, 5_000_001.25, 3]) == 2 / 3
    assert found.widths.tolist() == [1, 1, 0]
    assert found.summary([0.5, 5_000_001.25, 3]).mean_width == 2 / 3
    two = PredictionIntervals([[0.0, -np.inf]], [[1.0, 2.0]], 0.1, 99)
    assert two.summary([[0.5, 3.0]]).guaranteed.observed.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0.0], [1.0, 2.0], 0.1, 9), "`upper` has shape"),
        (([np.nan], [1.0], 0.1, 9), "`lower` has 1 NaN"),
        (([[[0.0]]], [[[1.0]]], 0.1, 9), r"expected \(N,\) or \(N, D\)"),
        (([0.0], [1.0], 0.1, [9, 9]), "`calibration` is"),
        ((np.ma.masked_array([0.0, 1.0], [0, 1]), [1.0, 2.0], 0.1, 9), "1 of 2 values masked"),
    ],
)
def test_what_are_no_intervals_is_told(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PredictionIntervals(*arguments)


@pytest.mark.parametrize("hits", range(11))
def test_coverages_are_quotients_of_float64(hits: int) -> None:
    sets = PredictionSets([[1, 0]] * hits + [[0, 1]] * (10 - hits), 0.1, 9)
    assert sets.coverage([0] * 10) == hits / 10
    assert sets.summary([0] * 10).guaranteed.overall == hits / 10
    inside = PredictionIntervals([0.0] * 10, [1.0] * hits + [0.25] * (10 - hits), 0.1, 9)
    assert inside.coverage([0.5] * 10) == hits / 10
    assert inside.summary([0.5] * 10).by_width.overall == hits / 10


@pytest.mark.parametrize(
    ("share", "meant"),
    [(1 - 0.9, 0.1), (1 - 0.8, 0.2), (0.1 + 0.2, 0.3), (1 - 0.95, 0.05), (0.7 - 0.5, 0.2)],
)
def test_shares_are_what_they_are_meant_to_be(share: float, meant: float) -> None:
    assert share != meant
    for n in (9, 19, 99, 999):
        assert conformal_rank(n, share) == conformal_rank(n, meant)
        scores = list(range(n))
        assert conformal_quantile(scores, share) == conformal_quantile(scores, meant)
    assert ConformalClassifier(share).alpha == meant
    for gate in (Gate.keep, Gate.false_alarm):
        one, other = (gate(each).fit(np.arange(99.0)) for each in (share, meant))
        assert one.summary() == other.summary()
        assert one(np.arange(120.0)).counts == other(np.arange(120.0)).counts


@pytest.mark.parametrize("parts", [3, 6, 7, 9])
def test_thirds_are_fractions(parts: int) -> None:
    assert conformal_rank(parts - 1, 1 / parts) == parts - 1
    gate = Gate.keep((parts - 1) / parts).fit(np.arange(parts - 1.0))
    assert gate.guarantee.threshold == parts - 2


P = [[0.6, 0.3, 0.1], [0.3, 0.6, 0.1], [0.7, 0.2, 0.1], [0.2, 0.7, 0.1]]
ALL = (Isotonic, HistogramBinning, BetaCalibration, VectorScaling, MatrixScaling)


@pytest.mark.parametrize("kind", ALL)
def test_a_class_without_examples_is_refused(kind: Any) -> None:
    with pytest.raises(ValueError, match=r"no example of class 2, .* all 3 classes"):
        kind().fit(P, [0, 1, 0, 1])
    with pytest.raises(ValueError, match="no example of class 0"):
        kind().fit([[0.6, 0.4], [0.3, 0.7]], [1, 1])
    with pytest.raises(ValueError, match="no example of class 1"):
        kind().fit(P, [0, 1, 2, 2], ignore_index=1)


LOGITS = [[2.0, 0, -np.inf], [1.0, 0, 0], [0, 3.0, -np.inf], [1, 0.0, 1.0]]


@pytest.mark.parametrize("kind", [VectorScaling, MatrixScaling, BetaCalibration])
def test_what_cannot_be_scaled_says_what_can(kind: Any) -> None:
    y = [0, 1, 1, 2]
    with pytest.raises(ValueError, match="logits of -inf, or use `Temperature`") as told:
        kind().fit(logits=LOGITS, y=y)
    assert "pass `logits=`" not in str(told.value)
    probs = torch.tensor(LOGITS).softmax(1)
    with pytest.raises(ValueError, match="pass `logits=`, which do not underflow"):
        kind().fit(probs, y)
    with pytest.raises(ValueError, match="such probabilities, or use `Temperature`"):
        kind().fit(ClassPrediction.from_probs(probs), y)
    scaled = Temperature().fit(logits=LOGITS, y=y)(logits=LOGITS)
    assert scaled[0, 2] == 0
    with pytest.raises(ValueError, match="give labels that are possible"):
        Temperature().fit(logits=LOGITS, y=[2, 1, 1, 2])


def test_points_are_for_the_absolute_score() -> None:
    with pytest.raises(TypeError, match='for means alone choose `score="absolute"`'):
        ConformalRegressor().fit([0.0, 1.0], [0.5, 1.5])
    with pytest.raises(TypeError, match="expected a prediction alone, or the arrays"):
        ConformalRegressor(score="absolute").fit([0.0], [0.5], std=[1.0])
