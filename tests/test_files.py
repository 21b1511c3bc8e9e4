"""A file is written whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from duda.files import write_atomically


def test_the_file_and_its_folders_are_made(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "results.json"
    assert write_atomically(str(target), b"new") == target
    assert target.read_bytes() == b"new"
    assert os.listdir(target.parent) == ["results.json"]


def test_the_old_file_stands_until_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "results.json"
    target.write_bytes(b"old")
    seen = []

    def look(number: int) -> None:
        others = [file for file in tmp_path.iterdir() if file != target]
        content = [(file.read_bytes(), file.suffix) for file in others]
        seen.append((stat.S_ISDIR(os.fstat(number).st_mode), target.read_bytes(), content))

    monkeypatch.setattr(os, "fsync", look)
    write_atomically(target, b"new")
    # Its name is in the directory, which a power cut would else undo.
    assert seen == [(False, b"old", [(b"new", ".json")]), (True, b"new", [])]
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    target = tmp_path / "results.json"
    target.write_bytes(b"old")

    def fail(number: int) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(error)):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["results.json"]


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot write `.*answer`: No space left on device; choose"):
        write_atomically(tmp_path / "answer", b"new")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("target", ["file/answer", "file/deeper/answer", "folder", "n" * 300])
def test_an_unwritable_target_is_told_and_leaves_nothing(tmp_path: Path, target: str) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"cannot write `.*; choose a path that you may write to"):
        write_atomically(tmp_path / target, b"new")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_others_may_read_what_the_process_lets_them(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        target = write_atomically(tmp_path / "answer", b"new")
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask
