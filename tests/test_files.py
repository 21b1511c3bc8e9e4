"""A file is written whole or not at all."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
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


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o666])
def test_a_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    target = tmp_path / "answer"
    target.write_bytes(b"old")
    target.chmod(mode)
    write_atomically(target, b"new")
    assert (target.read_bytes(), stat.S_IMODE(target.stat().st_mode)) == (b"new", mode)


@pytest.mark.parametrize("there", [True, False])
def test_a_symbolic_link_stays_one(tmp_path: Path, there: bool) -> None:
    (tmp_path / "disk").mkdir()
    real, link = tmp_path / "disk" / "answer.bin", tmp_path / "link"
    if there:
        real.write_bytes(b"old")
    link.symlink_to("disk/answer.bin")
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == link.read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["answer.bin", "disk", "link"]


_KILLED = """
import os, signal, sys
from duda import files
files.make_ordinary = lambda path: (print("written", flush=True), signal.pause())
files.write_atomically(sys.argv[1], b"new")
"""


def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    target = tmp_path / "answer.json"
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(target)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "written\n"
        write_atomically(target, b"mine")
        assert len(os.listdir(tmp_path)) == 2
        process.kill()
        process.wait()
    (tmp_path / ".answer.json.mine").write_bytes(b"of somebody else")
    write_atomically(target, b"mine")
    assert sorted(os.listdir(tmp_path)) == [".answer.json.mine", "answer.json"]
