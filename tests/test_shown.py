"""Whatever a user prints is a line, or a small table, however many examples it is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import duda
from duda import decisions, evaluation

N = 2000
PROBS = torch.randn(N, 3, generator=torch.Generator().manual_seed(0)).softmax(1)
LABELS = torch.arange(N) % 3
CLASSES = duda.ClassPrediction.from_probs(PROBS)
NUMBERS = duda.GaussianPrediction(PROBS[:, :1], PROBS[:, 1:2])
TARGETS = PROBS[:, 2:]

SHOWN: dict[str, tuple[Callable[[], Any], str]] = {
    "reliability": (lambda: evaluation.reliability(CLASSES, LABELS), "Reliability(ece=0."),
    "null band": (lambda: evaluation.reliability(CLASSES, LABELS).null_band(), "NullBand(limit="),
    "coverage": (lambda: evaluation.coverage(NUMBERS, TARGETS), "Coverage(mean_error=0."),
    "pit": (lambda: evaluation.pit(NUMBERS, TARGETS), "Pit(total=2000"),
    "spread": (lambda: evaluation.spread(NUMBERS, TARGETS), "Spread(ence="),
    "sparsification": (lambda: evaluation.sparsification(NUMBERS, TARGETS), "ion(ause="),
    "rank": (lambda: evaluation.rank(CLASSES, CLASSES.labels != LABELS), "Ranking(auroc=0."),
    "selective": (lambda: evaluation.selective(CLASSES, LABELS), "Selection(aurc=0."),
    "accuracy above": (lambda: evaluation.accuracy_above(CLASSES, LABELS), "AccuracyAbove("),
    "ood": (lambda: evaluation.ood(CLASSES, CLASSES), "Separation(auroc=0.5, "),
    "confusion": (lambda: evaluation.confusion(CLASSES, LABELS), "Confusion(accuracy=0."),
    "parts": (lambda: CLASSES.parts(), "aleatoric=(2000,), epistemic=(2000,), unit='nats'"),
    "terms": (lambda: CLASSES.contributions(LABELS)["nll"], "values=(2000,), how='mean'"),
    "prediction": (lambda: CLASSES, "log_probs=(2000, 3)"),
    "sets": (
        lambda: decisions.ConformalClassifier(0.1).fit(CLASSES, LABELS)(CLASSES),
        "sets=(2000, 3), alpha=0.1",
    ),
    "intervals": (
        lambda: decisions.ConformalRegressor(0.1).fit(NUMBERS, TARGETS)(NUMBERS),
        "lower=(2000, 1), upper=(2000, 1)",
    ),
    "data": (lambda: duda.datasets.load("sinusoid"), "name='sinusoid'"),
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_result_is_one_line_that_starts_with_its_headline(name: str) -> None:
    make, expected = SHOWN[name]
    shown = repr(make())
    assert expected in shown
    assert len(shown) < 300
    assert "\n" not in shown


def test_reports_and_comparisons_show_their_table() -> None:
    page = duda.report({"one": CLASSES, "other": CLASSES[:N]}, LABELS)
    title, head, *lines = repr(page).splitlines()
    assert title == f"Report: {page.title}"
    assert "Accuracy ↑" in head
    assert [line.split()[0] for line in lines] == ["one", "other"]
    found = duda.compare(
        (PROBS, LABELS), ["deterministic", "mc-dropout"], network=network, epochs=1
    )
    title, head, *lines = repr(found).splitlines()
    assert title == "Comparison on own data: categorical, 1 seed"
    assert "NLL ↓" in head
    assert [line.split()[0] for line in lines] == ["deterministic", "mc-dropout"]
    assert len({len(line.rstrip("*")) for line in lines}) == 1


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))
