"""Intervals of the table hold what they promise."""

from __future__ import annotations

import math

import pytest
import torch

from duda import ClassPrediction, GaussianPrediction, QuantilePrediction
from duda.predictions import Prediction
from duda.reporting import intervals, measure


def calibrated(n: int, seed: int) -> tuple[ClassPrediction, torch.Tensor]:
    """Return probabilities of two classes, and labels drawn by them."""
    generator = torch.Generator().manual_seed(seed)
    p = 0.5 + 0.5 * torch.rand(n, generator=generator, dtype=torch.float64)
    y = (torch.rand(n, generator=generator, dtype=torch.float64) > p).long()
    return ClassPrediction.from_probs(torch.stack([p, 1 - p], 1)), y


def test_intervals_are_as_wide_as_theory_says() -> None:
    answer, y = calibrated(2000, seed=0)
    figures, ends = measure(answer, y), intervals(answer, y)
    low, high = ends["accuracy"]
    accuracy = figures["accuracy"]
    width = 2 * 1.96 * math.sqrt(accuracy * (1 - accuracy) / 2000)
    assert high - low == pytest.approx(width, rel=0.2)
    assert ends.keys() == figures.keys()
    assert all(low < figures[name] < high for name, (low, high) in ends.items())


def test_they_hold_the_truth_about_as_often_as_promised() -> None:
    # E of the accuracy is 3/4 and E of the log-loss the mean entropy of a fair uniform p.
    p = torch.linspace(0.5, 1, 100_001, dtype=torch.float64)
    truth = {
        "accuracy": 0.75,
        "nll": float(torch.special.entr(torch.stack([p, 1 - p])).sum(0).mean()),
    }
    held = dict.fromkeys(truth, 0)
    for seed in range(20):
        ends = intervals(*calibrated(200, seed), seed=seed)
        for name, value in truth.items():
            held[name] += ends[name][0] <= value <= ends[name][1]
    # Of 20 with a probability of 0.93 or so, fewer than 14 in less than one of 1,000 cases.
    assert all(count >= 14 for count in held.values()), held


def test_the_ece_lies_inside_although_resamples_look_worse() -> None:
    answer, y = calibrated(100, seed=3)
    low, high = intervals(answer, y)["ece"]
    assert 0 <= low < measure(answer, y)["ece"] < high


def test_the_same_seed_gives_the_same_and_leaves_the_global_state() -> None:
    answer, y = calibrated(50, seed=1)
    state = torch.get_rng_state()
    assert intervals(answer, y, seed=5) == intervals(answer, y, seed=5)
    assert intervals(answer, y, seed=5) != intervals(answer, y, seed=6)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_not_there_has_no_interval() -> None:
    right = ClassPrediction.from_probs([[0.9, 0.1]] * 10)
    ends = intervals(right, [0] * 10)
    assert "auroc_errors" not in ends
    assert "accuracy" not in ends  # 100 % in every draw, which promises nothing
    sure = ClassPrediction.from_probs([[1.0, 0.0]] * 10)
    assert "nll" not in intervals(sure, [1] * 10)


def test_numbers_and_out_of_distribution_inputs() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(400, 1, generator=generator)
    answer = GaussianPrediction(torch.zeros(400, 1), 0.5 + torch.rand(400, 1, generator=generator))
    other = GaussianPrediction(torch.zeros(80, 1), 1.0 + torch.rand(80, 1, generator=generator))
    figures, ends = measure(answer, y, other), intervals(answer, y, other)
    assert ends.keys() == figures.keys() >= {"rmse", "nll", "coverage", "auroc_ood"}
    assert all(low <= figures[name] <= high for name, (low, high) in ends.items())


def slowly(
    prediction: Prediction, y: torch.Tensor, ood: Prediction, seed: int
) -> dict[str, tuple[float, float]]:
    """Return the intervals from measuring each draw of examples anew."""
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for _ in range(200):
        rows, others = (
            torch.randint(len(each), (len(each),), generator=generator)
            for each in (prediction, ood)
        )
        drawn.append(measure(prediction[rows], y[rows], ood[others]))
    ends = {}
    for name in drawn[0]:
        values = torch.tensor([each[name] for each in drawn], dtype=torch.float64)
        low, high = torch.quantile(values, torch.tensor([0.025, 0.975]).double()).tolist()
        ratio = measure(prediction, y)["ece"] / float(values.mean()) if name == "ece" else 1.0
        ends[name] = (ratio * low, ratio * high)
    return ends


def test_they_are_those_of_measuring_each_draw() -> None:
    (answer, y), (other, _) = calibrated(80, seed=6), calibrated(30, seed=7)
    found = intervals(answer, y, other, seed=2)
    assert found.keys() == measure(answer, y, other).keys()
    for name, pair in slowly(answer, y, other, seed=2).items():
        assert found[name] == pytest.approx(pair, rel=1e-9)


def test_classes_are_not_gone_through_in_each_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    answer, y = calibrated(50, seed=1)
    passes, slices = [], []
    asked, sliced = ClassPrediction.contributions, Prediction.__getitem__
    monkeypatch.setattr(
        ClassPrediction, "contributions", lambda self, y: passes.append(self) or asked(self, y)
    )
    monkeypatch.setattr(
        Prediction, "__getitem__", lambda self, rows: slices.append(rows) or sliced(self, rows)
    )
    intervals(answer, y, answer)
    assert len(passes) == 1  # for all metrics of the table and all of their draws
    assert slices == [slice(None, 1)]  # to see how large an example is; no draw was copied


@pytest.mark.parametrize(
    ("answers", "others", "there"), [(20, 10, True), (10, 20, True), (20, 9, False), (9, 20, False)]
)
def test_a_handful_of_other_inputs_is_not_resampled(answers: int, others: int, there: bool) -> None:
    (answer, y), (other, _) = calibrated(answers, seed=0), calibrated(others, seed=1)
    ends = intervals(answer, y, other)
    assert ("auroc_ood" in ends) == there
    assert "nll" in ends


@pytest.mark.parametrize(
    ("errors", "right", "there"), [(10, 10, True), (9, 30, False), (30, 9, False)]
)
def test_a_handful_of_errors_is_not_resampled(errors: int, right: int, there: bool) -> None:
    answer, _ = calibrated(errors + right, seed=2)
    y = (torch.arange(errors + right) < errors).long()  # the first class is the most probable one
    ends = intervals(answer, y)
    assert ("auroc_errors" in ends) == there
    assert "accuracy" in ends


def test_errors_at_many_positions_of_few_examples_are_few() -> None:
    probs = calibrated(9 * 50, seed=4)[0].probs.view(9, 50, 2).transpose(1, 2)
    answer = ClassPrediction.from_probs(probs)
    ends = intervals(answer, torch.arange(50).expand(9, 50) % 2, answer)
    assert ends.keys() == {"nll", "brier", "ece"}  # every draw has half of its positions right


def test_what_is_the_same_for_all_examples_has_no_interval() -> None:
    answer = QuantilePrediction(torch.tensor([[[-0.1], [0.2]]]).repeat(70, 1, 1), [0.025, 0.975])
    assert "width" not in intervals(answer, torch.randn(70, 1))
    same = ClassPrediction.from_probs([[0.7, 0.2, 0.1]] * 70)
    assert not intervals(same, [0] * 70)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int32])
def test_labels_may_be_short_integers(dtype: torch.dtype) -> None:
    answer, y = calibrated(50, seed=1)
    assert intervals(answer, y.to(dtype)) == intervals(answer, y)
