"""The folder of a run: all of one run or none of it, whatever happens on the way."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import duda
from duda import files
from duda.comparison.folder import save_run
from duda.predictions import Prediction
from duda.reporting import Report

ANSWER = duda.ClassPrediction.from_probs([[0.5, 0.5], [0.25, 0.75], [1.0, 0.0]])
Y = [0, 1, 1]


@pytest.fixture(scope="module")
def page() -> Report:
    return duda.report({"one": ANSWER}, Y)


def save(folder: Path, page: Report, number: int, *names: str) -> Path:
    answers: dict[str, Prediction] = {f"{name}-seed0-test.safetensors": ANSWER for name in names}
    return save_run(folder, {"number": number}, page, answers)


def runs(folder: Path) -> tuple[str, str]:
    """Return the marks in the results and in the report."""
    found = re.search(r'name="duda-run" content="(\w+)"', (folder / "report.html").read_text())
    assert found
    return json.loads((folder / "results.json").read_text()).get("run", ""), found[1]


def test_results_and_report_bear_the_mark_of_their_run(tmp_path: Path, page: Report) -> None:
    assert save(tmp_path / "out", page, 1, "a") == tmp_path / "out" / "report.html"
    first = runs(tmp_path / "out")
    save(tmp_path / "out", page, 2, "a")
    second = runs(tmp_path / "out")
    assert first[0] == first[1] != second[0] == second[1]
    assert json.loads((tmp_path / "out" / "results.json").read_text())["number"] == 2


def test_predictions_of_earlier_runs_go_and_files_of_others_stay(
    tmp_path: Path, page: Report
) -> None:
    save(tmp_path, page, 1, "a", "b")
    (tmp_path / "predictions" / "mine.safetensors").write_bytes(b"")
    (tmp_path / ".saving-old").mkdir()
    save(tmp_path, page, 2, "b", "c")
    assert sorted(os.listdir(tmp_path)) == ["predictions", "report.html", "results.json"]
    assert sorted(path.name for path in (tmp_path / "predictions").iterdir()) == [
        "b-seed0-test.safetensors",
        "c-seed0-test.safetensors",
        "mine.safetensors",
    ]


def test_a_page_that_cannot_be_made_leaves_the_earlier_run(
    tmp_path: Path, page: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, page, 1, "a")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    monkeypatch.setattr(Report, "html", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save(tmp_path, page, 2, "b")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("call", range(14))
def test_wherever_it_is_cut_off_no_two_runs_are_mixed(
    tmp_path: Path, page: Report, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    save(tmp_path, page, 1, "a")
    replace, calls = Path.replace, iter(range(100))

    def cut_off(self: Path, target: Path) -> Path:
        if next(calls) == call:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", cut_off)
    try:
        save(tmp_path, page, 2, "b", "c")
    except KeyboardInterrupt:
        results = json.loads((tmp_path / "results.json").read_text())
        mark, on_page = runs(tmp_path)
        names = sorted(path.name[0] for path in (tmp_path / "predictions").iterdir())
        assert results == {"unfinished": True} or (mark == on_page and names == ["a"])
    else:
        assert runs(tmp_path)[0] == runs(tmp_path)[1]
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]


def test_modes_and_links_stay(tmp_path: Path, page: Report) -> None:
    save(tmp_path / "out", page, 1, "a")
    (tmp_path / "out" / "results.json").chmod(0o600)
    (tmp_path / "out" / "report.html").replace(tmp_path / "page.html")
    (tmp_path / "out" / "report.html").symlink_to(tmp_path / "page.html")
    save(tmp_path / "out", page, 2, "a")
    assert stat.S_IMODE((tmp_path / "out" / "results.json").stat().st_mode) == 0o600
    assert (tmp_path / "out" / "report.html").is_symlink()
    assert runs(tmp_path / "out")[0] == runs(tmp_path / "out")[1]


def test_a_link_to_another_drive(
    tmp_path: Path, page: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, page, 1, "a")
    replace = Path.replace

    def between_drives(self: Path, target: Path) -> Path:
        if ".saving-" in str(self) and ".saving-" not in str(target):
            raise OSError(18, "Invalid cross-device link")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", between_drives)
    save(tmp_path, page, 2, "a")
    assert runs(tmp_path)[0] == runs(tmp_path)[1]


_OTHER = """
import sys, time
from duda.path_lock import path_lock
with path_lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_run_in_a_folder_is_told(tmp_path: Path, page: Report) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _OTHER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        with pytest.raises(OSError, match=rf"another run writes .*process {process.pid} on"):
            save(tmp_path, page, 1, "a")
        process.kill()
    save(tmp_path, page, 1, "a")


def test_a_full_disk_leaves_the_earlier_run(
    tmp_path: Path, page: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, page, 1, "a")
    before = runs(tmp_path)

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        save(tmp_path, page, 2, "b")
    assert runs(tmp_path) == before
    assert os.listdir(tmp_path / "predictions") == ["a-seed0-test.safetensors"]
