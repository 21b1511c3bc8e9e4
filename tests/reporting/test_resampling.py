"""Intervals of the table hold what they promise."""

from __future__ import annotations

import math

import pytest
import torch

from duda import ClassPrediction, GaussianPrediction
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


def test_numbers_and_inputs_from_elsewhere() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(400, 1, generator=generator)
    answer = GaussianPrediction(torch.zeros(400, 1), 0.5 + torch.rand(400, 1, generator=generator))
    other = GaussianPrediction(torch.zeros(80, 1), 1.0 + torch.rand(80, 1, generator=generator))
    figures, ends = measure(answer, y, other), intervals(answer, y, other)
    assert ends.keys() == figures.keys() >= {"rmse", "nll", "coverage", "auroc_ood"}
    assert all(low <= figures[name] <= high for name, (low, high) in ends.items())
