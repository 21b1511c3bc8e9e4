"""Folder for results, tried before work begins."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["writable"]


@contextmanager
def writable(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Make `folder` and see that it can be written; unmake it if nothing was written in the end.

    Raises:
        OSError: if it cannot.
    """
    place = Path(folder)
    made = [each for each in (place, *place.parents) if not each.exists()]
    try:
        _try_to_write(place)
        yield place
    finally:
        for each in made:
            if each.is_dir() and not any(each.iterdir()):
                each.rmdir()


def _try_to_write(place: Path) -> None:
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            return
    except OSError as error:
        raise OSError(
            f"cannot write to `{place}` ({error.strerror or error}): choose another folder."
        ) from error
