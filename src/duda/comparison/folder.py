"""The folder that results go to, tried before work begins."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from duda.files import write_atomically

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
        probe = write_atomically(place / ".duda-probe", lambda file: None)
        probe.unlink()
        yield place
    finally:
        for each in made:
            if each.is_dir() and not any(each.iterdir()):
                each.rmdir()
