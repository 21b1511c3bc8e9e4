"""The command line on odd terminals: encodings, pipes, signals, and names that steer terminals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from duda.cli.streams import spell_out
from duda.shown import visible
from tests.cli.runner import run

PROBS = np.random.default_rng(0).dirichlet([1, 1, 1], 200)
START = [sys.executable, "-m", "duda"]


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    np.savez(tmp_path / "answers.npz", probs=PROBS, labels=PROBS.argmax(1))
    return tmp_path / "answers.npz"


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", "-c", f"set -o pipefail; {command}"],
        capture_output=True,
        text=True,
        timeout=200,
        env=os.environ | environment,
    )


def test_a_reader_that_stops_is_no_error(predictions: Path, tmp_path: Path) -> None:
    ended = shell(f"{' '.join(START)} evaluate {predictions} --out {tmp_path}/out | head -n 1")
    assert ended.stderr == ""
    assert len(ended.stdout.splitlines()) <= 1
    assert (tmp_path / "out" / "report.html").exists()
    assert shell(f"{' '.join(START)} evaluate {predictions} | true").stderr == ""


def test_a_terminal_that_knows_ascii_only(predictions: Path) -> None:
    ended = shell(f"{' '.join(START)} evaluate {predictions}", PYTHONIOENCODING="ascii")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.isascii()
    assert "ECE" in ended.stdout


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_training_leaves_nothing(tmp_path: Path, sent: int) -> None:
    arguments = ["compare", "--data", "two-moons", "--methods", "deterministic"]
    with subprocess.Popen(
        [*START, *arguments, "--epochs", "100000", "--out", tmp_path / "new"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stderr is not None
        assert "1 of 1" in process.stderr.readline()
        process.send_signal(sent)
        _, rest = process.communicate(timeout=120)
    assert process.returncode == 128 + sent
    assert rest == ""
    assert list(tmp_path.iterdir()) == []


_BEGINS = "from duda.__main__ import main; print('begun', flush=True); main()"


@pytest.mark.parametrize("seconds", [0.02, 0.2, 0.6, 1.5])
def test_an_interrupt_while_it_starts_says_nothing(predictions: Path, seconds: float) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _BEGINS, "evaluate", predictions],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=120)
    assert told == ""
    assert process.returncode in (0, 130, -signal.SIGINT)


ESCAPES = ["\x1b[31mred", "\x1b]0;title\x07", "a\rb", "a\nb", "\x9b31m", "\u202egnp", "caf\udce9"]


@pytest.mark.parametrize("name", ESCAPES)
def test_names_that_steer_a_terminal_are_spelled_out(tmp_path: Path, name: str) -> None:
    for place, arrays in (
        (f"{name}.npz", {"probs": PROBS, "labels": PROBS.argmax(1)}),
        (f"bad{name}.npz", {name.encode(errors="replace").decode(): PROBS}),
    ):
        with (tmp_path / place).open("wb") as file:
            np.savez(file, **arrays)
        ended = run("evaluate", tmp_path / place, "--out", tmp_path / f"out{name}")
        assert ended.exit_code == (0 if "labels" in arrays else 2)
        for text in (ended.stdout, ended.stderr):
            assert all(each.isprintable() for each in text.replace("\n", ""))
        if ended.exit_code == 0:
            assert visible(name)[-3:] in ended.stdout.replace("\n", "")


def test_what_an_encoding_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "out").open("w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        spell_out()
        print("± ↑ é 犬")
    assert (tmp_path / "out").read_text() == "+- ^ \\xe9 \\u72ac\n"
