"""A file is written whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from duda.files import write_atomically


def test_the_file_and_its_folders_are_made(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "results.json"
    assert write_atomically(str(target), lambda file: _fill(file, "new")) == target
    assert target.read_text() == "new"
    assert os.listdir(target.parent) == ["results.json"]


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "results.json"
    target.write_text("old")
    seen = []

    def write(file: Path) -> None:
        file.write_text("ne")
        seen.append((target.read_text(), file.parent, file.suffix))
        file.write_text("new")

    write_atomically(target, write)
    assert seen == [("old", tmp_path, ".json")]
    assert target.read_text() == "new"


@pytest.mark.parametrize("error", [RuntimeError("stop"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: BaseException
) -> None:
    target = tmp_path / "results.json"
    target.write_text("old")

    def write(file: Path) -> None:
        file.write_text("half")
        raise error

    with pytest.raises(type(error)):
        write_atomically(target, write)
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["results.json"]


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    def write(file: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match=r"cannot write `.*answer`: No space left on device; choose"):
        write_atomically(tmp_path / "answer", write)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("target", ["file/answer", "file/deeper/answer", "folder", "n" * 300])
def test_an_unwritable_target_is_told_and_leaves_nothing(tmp_path: Path, target: str) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"cannot write `.*; choose a path that you may write to"):
        write_atomically(tmp_path / target, lambda file: _fill(file, "new"))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_others_may_read_what_the_process_lets_them(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        target = write_atomically(tmp_path / "answer", lambda file: _fill(file, "new"))
        assert os.umask(umask) == umask
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask


def _fill(file: Path, text: str) -> None:
    file.write_text(text)
