"""Atomic writing of files, whole or not at all, and what may stand in those of JSON."""

from __future__ import annotations

import errno
import math
import os
import re
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from duda.path_lock import lock_if_free

__all__ = ["json_number", "make_ordinary", "move_into", "remove_leftovers", "write_atomically"]


def write_atomically(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write `content` to a temporary file beside `path`, then move it there in one step.

    Whoever reads `path` sees the old file or the new one, also when the process is killed. A file
    keeps its mode, and a symbolic link stays one, to a file that is new.

    Raises:
        OSError: if the directory cannot be made or written, or the file not replaced.
    """
    target = Path(path)
    try:
        _write_and_move(target, content)
    except OSError as error:
        raise OSError(
            f"cannot write `{target}`: {error.strerror or error}; choose a path that you may write "
            "to."
        ) from error
    return target


def _write_and_move(target: Path, content: bytes) -> None:
    target = _behind_link(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(target)
    handle, temporary = _temporary(target)
    file = os.fdopen(handle, "wb")
    try:
        file.write(content)
        file.flush()
        os.fsync(handle)
        make_ordinary(temporary)
        if sys.platform == "win32":
            file.close()  # it moves no open file
        move_into(temporary, target)
    finally:
        file.close()
        temporary.unlink(missing_ok=True)


def move_into(file: Path, target: Path) -> None:
    """Put a file in the place of `target`, whose mode and link it gets.

    Raises:
        OSError: if that is not possible.
    """
    target = _behind_link(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        file.chmod(stat.S_IMODE(target.stat().st_mode))
    try:
        file.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _write_and_move(target, file.read_bytes())  # behind a link to another drive
    _keep_names(target.parent)


def _behind_link(target: Path) -> Path:
    """Return the file that is meant, so that a symbolic link to it stays."""
    return Path(os.path.realpath(target)) if target.is_symlink() else target


def _temporary(target: Path) -> tuple[int, Path]:
    """Return a new file beside `target`, locked while it is open, so that nobody takes it away."""
    while True:
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.name}.", suffix=target.suffix
        )
        if lock_if_free(handle) and os.fstat(handle).st_nlink:
            return handle, Path(name)
        os.close(handle)  # taken for a leftover before it was locked


def remove_leftovers(target: Path) -> None:
    """Delete the temporary files of those who were killed while they wrote `target`."""
    if sys.platform == "win32" or not target.parent.is_dir():
        return
    stem, suffix = re.escape(f".{target.name}."), re.escape(target.suffix)
    pattern = re.compile(f"{stem}[a-z0-9_]{{8}}{suffix}")
    for file in target.parent.iterdir():
        if pattern.fullmatch(file.name) and not file.is_symlink():
            with suppress(OSError), file.open("rb") as left:
                if lock_if_free(left.fileno()):  # nobody is writing it
                    file.unlink(missing_ok=True)


def _keep_names(directory: Path) -> None:
    """Have the names in a directory written to the disk, too, as far as the system can."""
    with suppress(OSError):  # Windows opens no directory, and some drives keep none
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def make_ordinary(path: Path) -> None:
    """Let others read a file that began as a temporary one, as far as they may read new files."""
    mask = os.umask(0o022)  # Python only tells it by setting it
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def json_number(value: float) -> float | str | None:
    """Return what JSON can hold: null where there is no number, and infinity by its name.

    >>> json_number(float("nan")), json_number(float("-inf")), json_number(0.5)
    (None, '-inf', 0.5)
    """
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else str(value)
