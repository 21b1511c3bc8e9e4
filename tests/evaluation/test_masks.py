"""What does not count may be anything, and all is as if it were not there."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import duda
from duda import ClassPrediction, GaussianPrediction, evaluation
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
    QuantileRecalibration,
    StdScale,
    Temperature,
    VectorScaling,
)
from duda.reporting import intervals, measure

N, IGNORED = 80, 255
GENERATOR = torch.Generator().manual_seed(0)
MEAN, STD = torch.randn(2, N, 1, generator=GENERATOR, dtype=torch.float64)
STD = STD.abs() + 0.5
Y = MEAN + 2 * STD * torch.randn(N, 1, generator=GENERATOR, dtype=torch.float64)
KEPT = torch.rand(N, 1, generator=GENERATOR) < 0.7
PROBS = torch.randn(N, 3, generator=GENERATOR, dtype=torch.float64).softmax(1)
LABELS = PROBS.multinomial(1, generator=GENERATOR).squeeze(1)

# What each finds, of a prediction of numbers and its targets, and what tells those that count.
OF_NUMBERS: dict[str, Callable[..., Any]] = {
    "rmse": evaluation.rmse,
    "mae": evaluation.mae,
    "density_nll": evaluation.density_nll,
    "crps": evaluation.crps,
    "coverage": lambda p, y, **m: evaluation.coverage(p, y, **m).inside,
    "pit": lambda p, y, **m: evaluation.pit(p, y, **m).counts,
    "pinball": lambda p, y, **m: evaluation.pinball(p, y, [0.1, 0.6], **m),
    "interval_coverage": lambda p, y, **m: evaluation.interval_coverage(p, y, level=0.7, **m),
    "interval_score": lambda p, y, **m: evaluation.interval_score(p, y, level=0.7, **m),
    "spread": lambda p, y, **m: evaluation.spread(p, y, **m).ence,
    "sparsification": lambda p, y, **m: evaluation.sparsification(p, y, **m).ause,
    "selective": lambda p, y, **m: evaluation.selective(p, y, **m).aurc,
    "measure": lambda p, y, **m: list(measure(p, y, **m).values()),
    "StdScale": lambda p, y, **m: StdScale().fit(p, y, **m).scale,
    "QuantileRecalibration": lambda p, y, **m: QuantileRecalibration().fit(p, y, **m).knots,
    "normalized": lambda p, y, **m: ConformalRegressor().fit(p, y, **m).thresholds,
    "cqr": lambda p, y, **m: ConformalRegressor(score="cqr").fit(p, y, **m).thresholds,
    "calibration": lambda p, y, **m: ConformalRegressor().fit(p, y, **m).calibration,
}

OF_CLASSES: dict[str, Callable[..., Any]] = {
    "accuracy": evaluation.accuracy,
    "nll": evaluation.nll,
    "reliability": lambda p, y, **m: evaluation.reliability(p, y, **m).ece,
    "reliability_of": lambda p, y, **m: evaluation.reliability_of(p, y, **m).ece,
    "smooth_ece_of": lambda p, y, **m: evaluation.smooth_ece_of(p, y, **m),
    "accuracy_above": lambda p, y, **m: evaluation.accuracy_above(p, y, **m).hits,
    "selective": lambda p, y, **m: evaluation.selective(p, y, **m).aurc,
    "sparsification": lambda p, y, **m: evaluation.sparsification(p, y, **m).ause,
    "measure": lambda p, y, **m: list(measure(p, y, **m).values()),
    "Temperature": lambda p, y, **m: Temperature().fit(p, y, **m).temperature,
    "VectorScaling": lambda p, y, **m: VectorScaling().fit(p, y, **m).weight,
    "MatrixScaling": lambda p, y, **m: MatrixScaling().fit(p, y, **m).weight,
    "BetaCalibration": lambda p, y, **m: BetaCalibration().fit(p, y, **m).parameters,
    "Isotonic": lambda p, y, **m: Isotonic().fit(p, y, **m).knots,
    "HistogramBinning": lambda p, y, **m: HistogramBinning(3).fit(p, y, **m).edges,
}

# Those that ask for one label for each example.
OF_EXAMPLES: dict[str, Callable[..., Any]] = {
    "conformal": lambda p, y, **m: ConformalClassifier(0.2).fit(p, y, **m).thresholds,
    "gate": lambda p, y, **m: Gate.cost(error=5, refusal=1).fit(p, y, **m).guarantee.threshold,
    "keep": lambda p, y, **m: Gate.keep(0.8).fit(p, y, **m).guarantee.threshold,
}


def same(found: Any, wanted: Any) -> None:
    found, wanted = (torch.as_tensor(each).double() for each in (found, wanted))
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("junk", [float("nan"), float("inf"), -9999.0])
@pytest.mark.parametrize("name", OF_NUMBERS)
def test_masked_targets_are_as_if_they_were_not_there(name: str, junk: float) -> None:
    found, rows = OF_NUMBERS[name], KEPT[:, 0]
    whole, left = (GaussianPrediction(MEAN[r], STD[r].square()) for r in (slice(None), rows))
    wanted = found(left, Y[rows])
    same(found(whole, torch.where(KEPT, Y, junk), mask=KEPT), wanted)
    same(found(whole, torch.where(KEPT, Y, junk), mask=KEPT.int().numpy()), wanted)
    with pytest.raises(ValueError, match="`mask` is False everywhere"):
        found(whole, Y, mask=torch.zeros_like(KEPT))
    with pytest.raises(ValueError, match="`mask` has shape"):
        found(whole, Y, mask=KEPT[:5])


def at_positions(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return rows as examples with positions."""
    rest = values.shape[1:]
    order = (0, *range(len(shape), len(shape) + len(rest)), *range(1, len(shape)))
    return values.view(*shape, *rest).permute(order)


@pytest.mark.parametrize("ignored", [IGNORED, -100])
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *itertools.product(OF_CLASSES, [(N,), (16, 5), (10, 2, 4)]),
        *itertools.product(OF_EXAMPLES, [(N,)]),
    ],
)
def test_ignored_labels_are_as_if_they_were_not_there(
    name: str, shape: tuple[int, ...], ignored: int
) -> None:
    found, rows = {**OF_CLASSES, **OF_EXAMPLES}[name], KEPT[:, 0]
    whole = ClassPrediction.from_probs(at_positions(PROBS, shape))
    y = at_positions(torch.where(rows, LABELS, ignored), shape)
    left = ClassPrediction.from_probs(PROBS[rows])
    same(found(whole, y, ignore_index=ignored), found(left, LABELS[rows]))
    with pytest.raises(ValueError, match="`ignore_index`"):
        found(whole, torch.full_like(y, ignored), ignore_index=ignored)


def test_intervals_of_metrics_leave_out_what_is_ignored() -> None:
    rows = KEPT[:, 0]
    whole, left = ClassPrediction.from_probs(PROBS), ClassPrediction.from_probs(PROBS[rows])
    found = intervals(whole, torch.where(rows, LABELS, IGNORED), ignore_index=IGNORED)
    wanted = intervals(left, LABELS[rows])
    for name, (low, high) in wanted.items():
        assert found[name] == pytest.approx((low, high), abs=(high - low) / 4)


def test_ranking_of_labels_and_of_flags() -> None:
    whole, rows = ClassPrediction.from_probs(PROBS), KEPT[:, 0]
    y, left = torch.where(rows, LABELS, IGNORED), ClassPrediction.from_probs(PROBS[rows])
    wanted = evaluation.rank(left, left.is_bad(LABELS[rows])).auroc
    assert evaluation.rank(whole, y, ignore_index=IGNORED).auroc == wanted
    wrong = whole.labels != y  # which calls what is ignored wrong
    assert evaluation.rank(whole.score, wrong, mask=rows).auroc == wanted
    assert evaluation.rank(whole, wrong, mask=rows).auroc == wanted
    aurc = evaluation.selective(left, LABELS[rows]).aurc
    assert evaluation.selective(whole.score, wrong, mask=rows).aurc == pytest.approx(aurc)
    assert evaluation.selective(whole.score, wrong).aurc > aurc + 0.05
    with pytest.raises(TypeError, match="`ignore_index` is 255 beside numbers"):
        evaluation.selective(whole.score, wrong, ignore_index=IGNORED)
    with pytest.raises(TypeError, match="leave numbers out by `mask`"):
        evaluation.selective(GaussianPrediction(MEAN, STD), Y, ignore_index=IGNORED)
    with pytest.raises(TypeError, match="without a prediction and its labels"):
        Gate.keep(0.9).fit(whole.score, ignore_index=IGNORED)


def test_sets_and_intervals_leave_out_what_does_not_count() -> None:
    rows = KEPT[:, 0]
    sets = PredictionSets(PROBS > 0.3, 0.1, 99)
    left = PredictionSets(PROBS[rows] > 0.3, 0.1, 99)
    y = torch.where(rows, LABELS, IGNORED)
    assert sets.coverage(y, ignore_index=IGNORED) == left.coverage(LABELS[rows])
    assert str(sets.summary(y, ignore_index=IGNORED)) == str(left.summary(LABELS[rows]))
    known = PredictionIntervals(MEAN - STD, MEAN + STD, 0.1, 99)
    alone = PredictionIntervals((MEAN - STD)[rows], (MEAN + STD)[rows], 0.1, 99)
    y = torch.where(KEPT, Y, torch.nan)
    assert known.coverage(y, mask=KEPT) == alone.coverage(Y[rows])
    assert str(known.summary(y, mask=KEPT)) == str(alone.summary(Y[rows]))


@pytest.mark.parametrize("junk", [float("nan"), -9999.0])
def test_joint_likelihoods_are_of_what_counts(junk: float) -> None:
    means = torch.stack([MEAN, MEAN + 0.5, MEAN - 1])
    draws = torch.cat([means, STD.expand(3, N, 1)], dim=2)
    answer = GaussianPrediction(MEAN, STD, draws=draws).with_joint(True)
    found = evaluation.joint_nll(answer, torch.where(KEPT, Y, junk), size=N, mask=KEPT)
    left = answer[KEPT[:, 0]]
    same(found, evaluation.joint_nll(left, Y[KEPT[:, 0]], size=len(left)))


def test_each_output_has_its_own_targets() -> None:
    answer = GaussianPrediction(MEAN.repeat(1, 2), STD.square().repeat(1, 2))
    y, kept = Y.repeat(1, 2), torch.cat([KEPT, ~KEPT], dim=1)
    for fitted, name in ((StdScale(), "scale"), (ConformalRegressor(), "thresholds")):
        both = getattr(fitted.fit(answer, torch.where(kept, y, torch.nan), mask=kept), name)
        for output, rows in enumerate((KEPT[:, 0], ~KEPT[:, 0])):
            one = GaussianPrediction(MEAN[rows], STD[rows].square())
            same(both[output], getattr(type(fitted)().fit(one, Y[rows]), name)[0])
    nothing = torch.cat([KEPT, torch.zeros_like(KEPT)], dim=1)
    with pytest.raises(ValueError, match="leaves no target of output 1"):
        StdScale().fit(answer, y, mask=nothing)


@pytest.mark.parametrize("shape", [(N,), (16, 5)])
def test_reports_leave_out_what_is_ignored(shape: tuple[int, ...]) -> None:
    rows = KEPT[:, 0]
    whole = ClassPrediction.from_probs(at_positions(PROBS, shape))
    y = at_positions(torch.where(rows, LABELS, IGNORED), shape)
    found = duda.report({"net": whole}, y, ignore_index=IGNORED, ood={"other": whole})
    left = ClassPrediction.from_probs(PROBS[rows])
    other = ClassPrediction.from_probs(PROBS)
    wanted = duda.report({"net": left}, LABELS[rows], ood={"other": other})
    assert repr(found) == repr(wanted)
    assert found.verdicts == wanted.verdicts
    of_classes = [
        next(each for each in report.sections if each.title == "Class by class").tables[0].rows
        for report in (found, wanted)
    ]
    assert of_classes[0] == of_classes[1]
    titles = [section.title for section in found.sections]
    assert [t for t in titles if t != "Noise, or ignorance?"] == [
        section.title for section in wanted.sections if section.title != "Noise, or ignorance?"
    ]


def test_reports_of_numbers_leave_out_what_is_masked() -> None:
    rows = KEPT[:, 0]
    whole = GaussianPrediction(MEAN, STD.square())
    left = GaussianPrediction(MEAN[rows], STD[rows].square())
    found = duda.report({"net": whole}, torch.where(KEPT, Y, torch.nan), mask=KEPT)
    wanted = duda.report({"net": left}, Y[rows])
    assert repr(found) == repr(wanted)
    assert found.verdicts == wanted.verdicts
    both = GaussianPrediction(MEAN.repeat(1, 2), STD.square().repeat(1, 2))
    y, kept = Y.repeat(1, 2), torch.cat([KEPT, ~KEPT], dim=1)
    found = duda.report({"net": both}, torch.where(kept, y, torch.nan), mask=kept)
    assert found.verdicts == duda.report({"net": whole}, Y).verdicts


@pytest.mark.parametrize(
    "call",
    [
        lambda y: evaluation.rmse([1.0, 2.0, 3.0], y),
        lambda y: evaluation.crps_of_gaussian([1.0, 2.0, 3.0], [1.0, 1.0, 1.0], y),
        lambda y: evaluation.density_nll([1.0, 2.0, 3.0], y, std=[1.0, 1.0, 1.0]),
        lambda y: ConformalRegressor(0.25, score="absolute").fit([1.0, 2.0, 3.0], y),
        lambda y: StdScale().fit([1.0, 2.0, 3.0], y, std=[1.0, 1.0, 1.0]),
        lambda y: evaluation.selective(y, [0.0, 0.0, 1.0]),
        lambda y: evaluation.pit_of_draws([y, y], [1.0, 2.0, 3.0]),
        lambda y: GaussianPrediction(y.reshape(3, 1), np.ones((3, 1))),
        lambda y: evaluation.accuracy(np.eye(3), y.astype(int)),
    ],
)
def test_masked_arrays_are_told_with_what_is_masked(call: Callable[[Any], Any]) -> None:
    y = np.ma.masked_array([1.0, 2.0, -9999.0], mask=[0, 0, 1])
    with pytest.raises(ValueError, match=r"masked array with \d of \d values masked"):
        call(y)


def test_masked_arrays_with_nothing_masked_are_arrays() -> None:
    assert evaluation.rmse([1.0, 2.0], np.ma.masked_array([1.0, 2.0], mask=[0, 0])) == 0
    assert evaluation.rmse([1.0, 2.0], np.ma.masked_array([1.0, 2.0])) == 0


def test_masked_values_in_lists_of_lists_are_counted() -> None:
    y = [[np.ma.masked_array([1.0, -9999.0], [False, True])]]
    with pytest.raises(ValueError, match="`y` is a masked array with 1 of 2 values masked"):
        evaluation.rmse([[[1.0, 2.0]]], y)


@pytest.mark.parametrize("ignore_index", ["x", 1.5, [255]])
def test_an_ignored_label_is_a_whole_number(ignore_index: Any) -> None:
    probs, y = [[0.5, 0.5], [0.2, 0.8]], [0, 1]
    calls = [
        lambda: evaluation.nll(probs, y, ignore_index=ignore_index),
        lambda: evaluation.selective(
            ClassPrediction.from_probs(probs), y, ignore_index=ignore_index
        ),
        lambda: duda.decisions.Temperature().fit(probs, y, ignore_index=ignore_index),
        lambda: duda.Categorical(ignore_index),
        lambda: duda.Dirichlet(ignore_index),
        lambda: duda.SampledSoftmax(ignore_index=ignore_index),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"`ignore_index` is .*, expected a whole number"):
            call()
