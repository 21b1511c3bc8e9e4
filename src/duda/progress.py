"""Progress bars for work that takes long, and none for work that does not."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

__all__ = ["progress"]

T = TypeVar("T")

_PATIENCE = 1.0  # seconds of work before a bar appears


def progress(items: Iterable[T], what: str, total: int | None) -> Iterator[T]:
    """Yield `items`, with a bar on a terminal once they have taken more than a second.

    >>> list(progress([1, 2], "count", 2))
    [1, 2]
    """
    if not sys.stderr.isatty():
        yield from items
        return
    start, bar, task = time.monotonic(), None, None
    try:
        for done, item in enumerate(items):
            if bar is None and time.monotonic() - start > _PATIENCE:
                from rich.console import Console
                from rich.progress import Progress

                bar = Progress(console=Console(stderr=True), transient=True)
                bar.start()
                task = bar.add_task(what, total=total)
            if bar is not None and task is not None:
                bar.update(task, completed=done)
            yield item
    finally:
        if bar is not None:
            bar.stop()
