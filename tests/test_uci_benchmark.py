"""The UCI benchmark goes on where it was, and counts as it says."""

from __future__ import annotations

import json
import math
import os

import pytest

from benchmarks.uci import append, key_of, main, mean_and_error, read, rows, run
from benchmarks.uci_methods import parted
from duda.datasets import load

needs_data = pytest.mark.skipif(
    not os.environ.get("DUDA_DATA"), reason="needs the tables in the folder that DUDA_DATA names"
)


def entry(table="yacht", split=0, method="deep-ensemble", nll=1.0):
    figures = {"rmse": 1.0, "nll": nll, "coverage": 0.95, "crps": 0.5}
    return {"table": table, "split": split, "method": method, "quick": False} | {
        **figures,
        "choice": {},
        "epochs": 100,
        "seconds": 2.0,
    }


def test_a_line_that_a_kill_cut_short_is_run_again(tmp_path, capsys):
    path = tmp_path / "results.jsonl"
    for split in (0, 1):
        append(path, entry(split=split))
    whole = path.read_bytes()
    path.write_bytes(whole + json.dumps(entry(split=2)).encode()[:20])
    assert [key[1] for key in read(path)] == [0, 1]
    assert path.read_bytes() == whole
    assert "cut short" in capsys.readouterr().out


def test_what_is_there_is_not_run_again(tmp_path, capsys):
    path = tmp_path / "results.jsonl"
    append(path, entry())
    before = path.read_bytes()
    asked = ["--tables", "yacht", "--methods", "deep-ensemble", "--splits", "1"]
    main([*asked, "--results", str(path)])
    assert path.read_bytes() == before
    assert "| yacht | deep-ensemble | 1.00 | 1.00 | 95.0 % | 0.500 | 1.58 | 1.18 | 100 |" in (
        capsys.readouterr().out
    )


def test_published_numbers_are_met_to_their_digits():
    lines = rows([entry("yacht", nll=1.184), entry("energy", nll=1.47), entry("concrete", nll=3.2)])
    counts = next(line for line in lines if line.startswith("deep-ensemble: NLL"))
    assert "at most the published one on 1 of 3" in counts
    assert "at most 0.1 above it on 2." in counts
    assert mean_and_error([1.0, 3.0], 1, " %") == "2.0 ± 1.0 %"


@needs_data
def test_choosing_never_sees_a_test_row():
    train, test = load("uci:yacht", 0).train, load("uci:yacht", 0).test
    first, second = parted(train, 0)
    assert len(first[0]) + len(second[0]) == len(train[0])
    assert len(second[0]) == round(0.2 * len(train[0]))
    known = {tuple(row) for part in (first, second) for row in part[0].tolist()}
    assert not known & {tuple(row) for row in test[0].tolist()}


@needs_data
@pytest.mark.parametrize("method", ["deep-ensemble", "quantile-ensemble"])
def test_a_run_measures_in_the_units_of_the_target(method):
    found = run(("yacht", 0, method, True))
    assert key_of(found) == ("yacht", 0, method, True)
    assert 0 < found["rmse"] < 20
    assert 0 <= found["coverage"] <= 1
    assert ("nll" in found) == (method == "deep-ensemble")
    assert math.isfinite(found["crps"])
