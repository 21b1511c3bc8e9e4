from __future__ import annotations

import numpy as np
import pytest

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
