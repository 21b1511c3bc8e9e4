"""Bars appear on a terminal, for long work only, and change nothing of it."""

from __future__ import annotations

import io
import sys

import pytest

import duda.progress
from duda.progress import Bar, progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def to_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Call this in the test itself: pytest puts its own stderr in place before each."""
    stderr = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stderr", stderr)
    return stderr


def test_long_work_shows_its_name_note_and_share(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = to_terminal(monkeypatch)
    monkeypatch.setattr(duda.progress, "_PATIENCE", 0.0)
    with Bar("fit", 8) as bar:
        bar.note("epoch 3, loss 0.25")
        bar.update(2)
    assert "fit epoch 3, loss 0.25" in terminal.getvalue()
    assert "25%" in terminal.getvalue()


def test_short_work_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = to_terminal(monkeypatch)
    assert list(progress(iter("abc"), "read", None)) == ["a", "b", "c"]
    assert terminal.getvalue() == ""


def test_no_terminal_shows_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duda.progress, "_PATIENCE", 0.0)
    assert list(progress([1, 2], "read", 2)) == [1, 2]
    assert capsys.readouterr().err == ""
