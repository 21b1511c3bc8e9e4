"""Locks between processes: a file or folder that one run writes, and others leave alone meanwhile.

The lock is a hidden file that the system keeps locked while its owner lives, so that none outlives
a run that was killed.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["lock_if_free", "path_lock"]

_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # by some network drives
_WORKERS_LIVE = 15  # seconds, at most, until those of torch see that their parent is gone
_held: Counter[tuple[int, int, Path]] = Counter()  # how often, by process, thread and lock


@contextmanager
def path_lock(path: str | os.PathLike[str]) -> Iterator[None]:
    """Keep other runs from a folder, or a file, which need not exist; who has it may ask again.

    Windows, and drives that know no locks, have none.

    Raises:
        OSError: if another run has it, which is told with its process and age, or if nothing can be
            written there.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, path_lock(folder):
    ...     os.listdir(folder)
    ['.lock']
    """
    place = Path(path).absolute()
    lock = place / ".lock" if place.is_dir() else place.with_name(f".{place.name}.lock")
    mine = os.getpid(), threading.get_ident(), lock.parent.resolve() / lock.name
    handle = None if _held[mine] or sys.platform == "win32" else _take(lock, path)
    _held[mine] += 1
    try:
        yield
    finally:
        _held[mine] -= 1
        if not _held[mine]:
            del _held[mine]
        if handle is not None:
            lock.unlink(missing_ok=True)
            os.close(handle)


def _take(lock: Path, path: str | os.PathLike[str]) -> int:
    """Return the handle of the lock's file, which says whose it is."""
    until = time.monotonic() + _WORKERS_LIVE
    while True:
        handle = _opened(lock, path)
        if not lock_if_free(handle):
            owner = _owner(handle)
            os.close(handle)
            if owner is not None and _is_gone(owner) and time.monotonic() < until:
                time.sleep(0.1)
                continue
            raise OSError(
                f"another run writes `{path}`{_told(owner)}: wait for its end, or give another "
                "path."
            )
        if _is_at(lock, handle):
            os.truncate(handle, 0)
            os.write(handle, json.dumps([os.getpid(), platform.node(), time.time()]).encode())
            return handle
        os.close(handle)  # that of a run which has just ended, and removed it


def _opened(lock: Path, path: str | os.PathLike[str]) -> int:
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        return os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    except OSError as error:
        raise OSError(
            f"cannot write `{path}`: {error.strerror or error}; choose a path that you may write "
            "to."
        ) from error


def lock_if_free(handle: int) -> bool:
    """Lock an open file until it is closed if no other has done so, and return whether it is."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
    return True


def _is_at(lock: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), lock.stat())
    except FileNotFoundError:
        return False


def _owner(handle: int) -> tuple[int, str, float] | None:
    """Return process, host and start of the owner, or None if it has not written them yet."""
    try:
        process, host, since = json.loads(os.read(handle, 1000))
        return int(process), str(host), float(since)
    except (ValueError, TypeError):
        return None


def _is_gone(owner: tuple[int, str, float]) -> bool:
    """Return whether the owner was killed, so that only its forked workers live on for a while."""
    if owner[1] != platform.node():
        return False
    try:
        os.kill(owner[0], 0)
    except ProcessLookupError:
        return True
    except OSError:  # of another user, whose processes may not be asked
        return False
    return False


def _told(owner: tuple[int, str, float] | None) -> str:
    if owner is None:
        return ""
    seconds = max(0, round(time.time() - owner[2]))
    age = f"{seconds} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    return f" (process {owner[0]} on {owner[1]}, for {age})"
