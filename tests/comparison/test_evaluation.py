"""From a file of another program to numbers and a page."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from duda.comparison import evaluate
from duda.evaluation import reliability
from duda.reporting import measure


@pytest.fixture
def classes(tmp_path):
    """Write probabilities for 200 examples, and vaguer ones for 90 out of distribution."""
    random = np.random.default_rng(0)
    labels = random.integers(3, size=200)
    logits = random.normal(size=(200, 3)) + 2 * np.eye(3)[labels]
    np.savez(tmp_path / "net.npz", logits=logits, labels=labels)
    np.savez(tmp_path / "other.npz", logits=random.normal(size=(90, 3)) / 4)
    return tmp_path


def test_figures_are_those_of_measure(classes) -> None:
    found = evaluate(classes / "net.npz", classes / "other.npz")
    assert found.name == "net"
    assert found.figures == measure(found.prediction, found.y, found.ood["other"])
    assert found.figures["auroc_ood"] > 0.6
    cells = {row.metric.label: row.cells[0] for row in found.table}
    assert cells["Accuracy"].mean == f"{100 * found.figures['accuracy']:.2f} %"
    low, high = (float(end) for end in cells["Accuracy"].interval.split(", "))
    assert low < 100 * found.figures["accuracy"] < high


def test_what_chance_alone_shows_is_told(classes) -> None:
    found = evaluate(classes / "net.npz")
    limit = float(found.note.split("up to ")[1].split(",")[0])
    assert limit == pytest.approx(
        reliability(found.prediction.probs, found.y).null_band().limit, abs=1e-4
    )
    assert 0.03 < limit < 0.15


def test_everything_is_saved(classes) -> None:
    path = evaluate(classes / "net.npz", classes / "other.npz").save(classes / "out")
    page = path.read_text()
    assert "net: how sure, and how right?" in page
    assert "95 % confidence intervals" in page
    assert "200 test examples; 90 inputs from other. With these confidences" in page
    results = json.loads((classes / "out" / "results.json").read_text())
    assert results["examples"] == 200
    assert results["ood"] == {"other": 90}
    low, high = results["metrics"]["ece"]["interval"]
    assert low < results["metrics"]["ece"]["value"] < high


@pytest.mark.skipif("DUDA_DATA" not in os.environ, reason="DUDA_DATA is not set")
def test_a_networks_predictions_for_real_pictures() -> None:
    path = Path(os.environ["DUDA_DATA"]) / "predictions" / "wideresnet-16-4_cifar-10.npz"
    found = evaluate(path)
    assert found.figures["accuracy"] == pytest.approx(0.9109, abs=1e-4)
    assert found.figures["ece"] == pytest.approx(0.0537, abs=1e-4)
    low, high = found.ends["accuracy"]
    width = 2 * 1.96 * (0.9109 * 0.0891 / 10_000) ** 0.5
    assert high - low == pytest.approx(width, rel=0.2)
    assert float(found.note.split("up to ")[1].split(",")[0]) < found.ends["ece"][0]


def test_numbers_have_their_page(tmp_path) -> None:
    y = torch.randn(100)
    np.savez(tmp_path / "net.npz", mean=torch.zeros(100), std=torch.ones(100), y=y)
    found = evaluate(tmp_path / "net.npz")
    assert found.figures["rmse"] == pytest.approx(float(y.square().mean().sqrt()), rel=1e-6)
    assert found.note == ""
    assert "inputs from" not in found.report().html().split("</header>")[0]


def test_targets_are_needed(classes) -> None:
    with pytest.raises(ValueError, match=r"other\.npz` holds no `labels` and no `y`"):
        evaluate(classes / "other.npz")


def test_targets_that_do_not_fit_are_told_with_their_file(tmp_path) -> None:
    np.savez(tmp_path / "net.npz", probs=[[0.9, 0.1], [0.3, 0.7]], labels=[0, 5])
    with pytest.raises(ValueError, match=r"net\.npz`: `labels` holds the label 5, expected 0 to 1"):
        evaluate(tmp_path / "net.npz")


def test_both_are_of_one_kind(classes) -> None:
    np.savez(classes / "numbers.npz", mean=np.zeros(5), std=np.ones(5))
    with pytest.raises(ValueError, match=r"holds a GaussianPrediction .* expected a ClassP"):
        evaluate(classes / "net.npz", classes / "numbers.npz")


def test_both_are_of_the_same_classes(classes) -> None:
    np.savez(classes / "more.npz", logits=np.zeros((9, 4)))
    message = r"more\.npz` holds .* 4 classes, expected .* 3 classes, as for `.*net\.npz`"
    with pytest.raises(ValueError, match=message):
        evaluate(classes / "net.npz", classes / "more.npz")


def test_targets_of_inputs_from_elsewhere_do_not_matter(classes) -> None:
    logits = np.load(classes / "other.npz")["logits"]
    np.savez(classes / "named.npz", logits=logits, labels=["a street"] * 90)
    found = evaluate(classes / "net.npz", classes / "named.npz")
    assert found.figures == evaluate(classes / "net.npz", classes / "other.npz").figures


def test_one_of_a_kind_is_told_in_the_singular(tmp_path) -> None:
    np.savez(tmp_path / "net.npz", mean=[0.0], std=[1.0], y=[0.5])
    found = evaluate(tmp_path / "net.npz", tmp_path / "net.npz")
    assert "1 test example; 1 input from net." in found.report().html()
