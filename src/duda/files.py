"""Atomic writing of files, whole or not at all, and what may stand in those of JSON."""

from __future__ import annotations

import math
import os
import tempfile
from contextlib import suppress
from pathlib import Path

__all__ = ["json_number", "make_ordinary", "write_atomically"]


def write_atomically(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write `content` to a temporary file beside `path`, then move it there in one step.

    Whoever reads `path` sees the old file or the new one, also when the process is killed.

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
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        dir=target.parent, prefix=f".{target.name}.", suffix=target.suffix
    )
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        make_ordinary(temporary)
        temporary.replace(target)
        _keep_names(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


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
