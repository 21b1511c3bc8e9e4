from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from duda import METHODS, ClassPrediction
from duda.cli.compare import _show
from duda.comparison import Comparison
from duda.comparison.run import Run
from duda.comparison.task import tasks
from tests.cli.runner import run

QUICK = ("compare", "--data", "two-moons", "--methods", "deterministic,mc-dropout", "--epochs", "1")
CLASSES = ("accuracy", "nll", "brier", "ece", "auroc_ood", "auroc_errors")
NUMBERS = ("rmse", "nll", "coverage", "auroc_ood")


def command(*arguments: object) -> list[str]:
    # A shell's background jobs, and all that they start, ignore interrupts unless told otherwise.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    start = f"{heed}; from duda.cli import main; main()"
    return [sys.executable, "-c", start, *(str(argument) for argument in arguments)]


def test_compare_prints_a_table_and_writes_everything(tmp_path):
    result = run(*QUICK, "--seeds", 2, "--out", tmp_path / "new")
    assert result.exit_code == 0, result.output
    for text in ("deterministic", "mc-dropout", "Accuracy", "NLL", "Brier", "ECE", "AUROC", "±"):
        assert text in result.stdout
    assert str(tmp_path / "new" / "report.html") in result.stdout.replace("\n", "")
    assert "1 of 4: deterministic, seed 0" in result.stderr
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {"report.html", "results.json", "predictions"}
    results = json.loads((tmp_path / "new" / "results.json").read_text())
    assert list(results["methods"]) == ["deterministic", "mc-dropout"]
    assert results["training"]["epochs"] == 1


@pytest.mark.parametrize(
    ("data", "seeds", "quality", "tables"),
    [
        ("two-moons", 1, CLASSES, 2),
        ("two-moons", 3, CLASSES, 3),
        ("sinusoid", 1, NUMBERS, 2),
        ("sinusoid", 3, NUMBERS, 2),
    ],
)
def test_tables_of_all_methods_are_whole_in_80_columns(
    data, seeds, quality, tables, monkeypatch, capsys
):
    monkeypatch.setenv("COLUMNS", "80")
    task, answer = tasks(data)(0), ClassPrediction.from_probs([[0.5, 0.5]])
    figures = dict.fromkeys((*quality, "parameters", "seconds_train", "seconds_predict"), 0.1234)
    runs = [
        Run(method, seed, answer, {name: seed + figures[name] for name in figures})
        for seed in range(seeds)
        for method in METHODS
    ]
    comparison = Comparison(task, "any", {"epochs": 1}, runs)
    _show(comparison)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(set(line) == {"─"} for line in lines) == tables
    for place, method in enumerate(METHODS):
        words = [
            word for line in lines if line.split()[:1] == [method] for word in line.split()[1:]
        ]
        cells = " ".join(str(row.cells[place]) for row in comparison.table)
        assert words == cells.split()


def test_a_comma_too_many_names_no_method(tmp_path):
    result = run(*QUICK, "--methods", "deterministic,,", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert list(json.loads((tmp_path / "results.json").read_text())["methods"]) == ["deterministic"]


def test_names_are_printed_as_they_are(capsys):
    figures = {"nll": 0.5, "seconds_train": 1.0}
    answer = ClassPrediction.from_probs([[0.5, 0.5]])
    runs = [Run(name, 0, answer, figures) for name in ("a[v1]", "[/b]", "a:cat:")]
    task = replace(tasks("two-moons")(0), name="moons[2]")
    _show(Comparison(task, "any", {"epochs": 1}, runs))
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("moons[2]", "a[v1]", "[/b]", "a:cat:"))


def test_a_likelihood_can_be_asked_for(tmp_path):
    result = run(*QUICK, "--likelihood", "dirichlet", "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "results.json").read_text())["likelihood"] == "dirichlet"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "digit"), "did you mean 'digits'"),
        (("--data", "uci:concret"), "did you mean 'uci:concrete'"),
        (("--methods", " ,"), "`methods` is empty, expected some of deterministic"),
        (("--methods", "deep-ensembl"), "did you mean 'deep-ensemble'"),
        (("--likelihood", "dirichlt"), "did you mean 'dirichlet'"),
        (("--likelihood", "laplacian"), "`likelihood` is 'laplacian', expected for two-moons"),
        (("--ood", "cubic"), "choose a data set of the same shape"),
        (("--seeds", "0"), "`seeds` is 0"),
        (("--seeds", "-2"), "`seeds` is -2"),
        (("--epochs", "0"), "`epochs` is 0"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2_and_leaves_nothing(tmp_path, arguments, message):
    result = run(*QUICK, *arguments, "--out", tmp_path / "new")
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_missing_data_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("DUDA_DATA", str(tmp_path / "nowhere"))
    result = run("compare", "--data", "mnist", "--out", tmp_path / "new")
    assert result.exit_code == 2
    assert "nowhere" in result.stderr
    assert "https://" in result.stderr
    assert "download" in result.stderr


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be_written_is_found_before_training(tmp_path, place):
    (tmp_path / "file").write_text("mine")
    ended = subprocess.run(
        command(*QUICK, "--out", tmp_path / place), capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 2
    assert "cannot write" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "1 of 2" not in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


def test_an_interrupt_ends_quietly_and_leaves_nothing(tmp_path):
    process = subprocess.Popen(
        command(*QUICK, "--epochs", 100_000, "--out", tmp_path / "new"),
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    try:
        assert process.stderr is not None
        assert "1 of 2" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []
