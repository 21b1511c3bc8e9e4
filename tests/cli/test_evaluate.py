from __future__ import annotations

import json

import numpy as np
import pytest

from duda import evaluation
from tests.cli.runner import run


def test_evaluate_prints_a_table_and_writes_the_report(tmp_path):
    labels = np.arange(60) % 3
    probs = 0.1 + 0.7 * np.eye(3)[np.where(np.arange(60) % 5, labels, 0)]
    np.savez(tmp_path / "net.npz", probs=probs, labels=labels)
    result = run("evaluate", tmp_path / "net.npz")
    assert result.exit_code == 0, result.output
    assert "net: 60 examples" in result.stdout
    assert "86.67 %" in result.stdout
    assert "95 % interval" in result.stdout
    result = run(
        "evaluate", tmp_path / "net.npz", "--ood", tmp_path / "net.npz", "--out", tmp_path / "new"
    )
    assert result.exit_code == 0, result.output
    assert "AUROC OOD" in result.stdout
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"report.html", "results.json"}


@pytest.mark.parametrize("name", ["run[v1]", "run[bold]", "run:cat:"])
def test_evaluate_prints_the_name_of_the_file_as_it_is(tmp_path, name):
    np.savez(tmp_path / f"{name}.npz", mean=[0.0], std=[1.0], y=[0.5])
    result = run("evaluate", tmp_path / f"{name}.npz")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{name}: 1 example\n")


@pytest.mark.parametrize("kind", ["names", "floats"])
def test_evaluate_says_which_labels_it_takes(tmp_path, kind):
    labels = np.array(["cat", "dog"]) if kind == "names" else np.array([0.0, 1.0])
    np.savez(tmp_path / "net.npz", probs=[[0.9, 0.1], [0.3, 0.7]], labels=labels)
    result = run("evaluate", tmp_path / "net.npz")
    assert result.exit_code == 2
    assert "`labels` has dtype" in result.stderr
    assert "expected class numbers 0 to 1" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_evaluate_says_in_a_sentence_what_is_wrong(tmp_path):
    for arguments, message in (
        ((tmp_path / "none.npz",), "no file at"),
        ((tmp_path / "net.npz",), "holds p, expected one of"),
    ):
        np.savez(tmp_path / "net.npz", p=np.zeros(3))
        result = run("evaluate", *arguments, "--out", tmp_path / "new")
        assert result.exit_code == 2
        assert result.stderr.startswith("duda: ")
        assert message in result.stderr
        assert not (tmp_path / "new").exists()


def figures(tmp_path, *arguments, **arrays):
    """Return the metrics that the command writes for a file with these arrays."""
    np.savez(tmp_path / "net.npz", **arrays)
    result = run("evaluate", tmp_path / "net.npz", *arguments, "--out", tmp_path / "new")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "new" / "report.html").is_file()
    found = json.loads((tmp_path / "new" / "results.json").read_text())["metrics"]
    return {name: each["value"] for name, each in found.items()}, result.stdout


def test_points_have_errors_and_nothing_else(tmp_path):
    found, shown = figures(tmp_path, mean=[0.0, 1.0, 2.0], y=[0.0, 2.0, 4.0])
    assert found == pytest.approx({"rmse": (5 / 3) ** 0.5, "mae": 1.0})
    assert "MAE" in shown
    np.savez(tmp_path / "other.npz", mean=[0.0])
    result = run("evaluate", tmp_path / "net.npz", "--ood", tmp_path / "other.npz")
    assert result.exit_code == 2
    assert "holds a mean alone" in result.stderr


def test_targets_that_do_not_count(tmp_path):
    mean, y, mask = np.zeros((4, 2)), np.ones((4, 2)), np.ones((4, 2), dtype=int)
    y[1, 0], mask[1, 0] = np.nan, 0
    y[2], mask[2] = -9999, 0
    masked, shown = figures(tmp_path, mean=mean, std=mean + 1, y=y, mask=mask)
    assert "4 examples, 3 targets left out" in shown
    alone, _ = figures(tmp_path, mean=np.zeros(5), std=np.ones(5), y=np.ones(5))
    assert masked == pytest.approx(alone)
    points, _ = figures(tmp_path, mean=mean, y=y, mask=mask)
    assert points == {"rmse": 1.0, "mae": 1.0}


@pytest.mark.parametrize("shape", [(60,), (20, 3), (5, 3, 4)])
def test_labels_that_do_not_count(tmp_path, shape):
    rng = np.random.default_rng(0)
    probs = np.moveaxis(rng.dirichlet(np.ones(3), shape), -1, 1)
    labels = rng.integers(3, size=shape)
    rows = np.moveaxis(probs, 1, -1).reshape(-1, 3)
    kept = rng.random(shape) < 0.7
    alone, _ = figures(tmp_path, probs=rows[kept.flatten()], labels=labels[kept])
    masked = {"probs": probs, "labels": labels, "mask": kept}
    ignored = {"probs": probs, "labels": np.where(kept, labels, 255)}
    assert figures(tmp_path, **masked)[0] == pytest.approx(alone)
    assert figures(tmp_path, "--ignore-index", "255", **ignored)[0] == pytest.approx(alone)


@pytest.mark.parametrize("total", [1.0, 1.0005, 0.9995])
def test_sums_near_one_are_one_to_the_command_and_to_the_metrics(tmp_path, total):
    probs = total * np.random.default_rng(0).dirichlet(np.ones(4), 50)
    labels = np.arange(50) % 4
    found, _ = figures(tmp_path, probs=probs, labels=labels)
    for name in ("nll", "brier", "accuracy"):
        metric = getattr(evaluation, name)
        assert found[name] == pytest.approx(metric(probs, labels), rel=1e-9)
        assert found[name] == pytest.approx(metric(probs / total, labels), rel=1e-9)


def test_whole_numbers_are_the_numbers_that_they_are(tmp_path):
    large = 2**24 + 1  # which float32 has not
    found, _ = figures(tmp_path, mean=np.array([large]), std=np.array([1]), y=np.array([large]))
    assert found["rmse"] == 0
    assert found["coverage"] == 1


def test_huge_numbers_are_shown_short(tmp_path):
    _, shown = figures(tmp_path, mean=[0.0, 0.0], std=[1e23, 1e23], y=[1e24, -1e24])
    assert "1.00e+24" in shown


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("net.csv", "read its columns by pandas and write"), ("net.npy", "by `numpy.load` and write")],
)
def test_other_files_are_told_with_what_to_write(tmp_path, name, remedy):
    path = tmp_path / name
    if name.endswith("csv"):
        path.write_text("mean,std,y\n1,2,3\n")
    else:
        np.save(path, np.zeros(3))
    result = run("evaluate", path)
    assert result.exit_code == 2
    assert remedy in " ".join(result.stderr.split())
