"""Progress bars for work that takes long, and none for work that does not."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["Bar", "progress"]

T = TypeVar("T")

_PATIENCE = 1.0  # seconds of work before a bar appears


class Bar:
    """A bar on stderr, if that is a terminal, once the work has taken more than a second.

    Args:
        what: the name of the work.
        total: how much there is to do, if that is known.
    """

    def __init__(self, what: str, total: int | None) -> None:
        self._what, self._total, self._note = what, total, ""
        self._start = time.monotonic()
        self._shown: Progress | None = None
        self._wanted = sys.stderr.isatty()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._shown is not None:
            self._shown.stop()

    def note(self, text: str) -> None:
        """Show `text` behind the name."""
        self._note = f" {text}"

    def update(self, done: int) -> None:
        """Show that `done` of the total is done."""
        if not self._wanted or time.monotonic() - self._start < _PATIENCE:
            return
        if self._shown is None:
            from rich.console import Console
            from rich.progress import Progress

            self._shown = Progress(console=Console(stderr=True), transient=True)
            self._shown.start()
            self._shown.add_task(self._what, total=self._total)
        task = self._shown.task_ids[0]
        self._shown.update(task, completed=done, description=self._what + self._note)


def progress(items: Iterable[T], what: str, total: int | None) -> Iterator[T]:
    """Yield `items`, with a bar on a terminal once they have taken more than a second.

    >>> list(progress([1, 2], "count", 2))
    [1, 2]
    """
    with Bar(what, total) as bar:
        for done, item in enumerate(items):
            bar.update(done)
            yield item
