"""Streams and signals of the command line: what any terminal can show, and a clean end."""

from __future__ import annotations

import codecs
import io
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["end_cleanly", "spell_out"]

_SPELLED = {"±": "+-", "↑": "^", "↓": "v", "→": "->", "–": "-", "−": "-", "∞": "inf", "…": "..."}
_HANDLER = "duda.spelled"


def spell_out() -> None:
    """Let streams write what their encoding lacks in other characters, in place of an error."""
    codecs.register_error(_HANDLER, _spelled)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def _spelled(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    shown = (_SPELLED.get(each) or ascii(each)[1:-1] for each in lacking)
    return "".join(shown), error.end


@contextmanager
def end_cleanly() -> Iterator[None]:
    """Let interrupts and SIGTERM raise, so that files that were begun are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    if before[signal.SIGINT] is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if before[signal.SIGTERM] is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _ended)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _ended(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one shall not stop the cleaning
    raise SystemExit(128 + number)
