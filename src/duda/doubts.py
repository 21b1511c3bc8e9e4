"""Doubts about values: what a device finds odd is read once for many checks, not once for each.

To read a number back from a GPU is to wait for all that was asked of it before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from duda.transfer import read_once, together

__all__ = ["Doubts", "at_once", "certain", "doubt", "doubts_together", "waiting"]

_HELD = 2**28  # bytes of batches that checks may keep alive until they are settled


class _Doubt(NamedTuple):
    """Numbers on a device, what finds them odd on the host, and who then looks closely."""

    numbers: Sequence[Tensor]
    wrong: Callable[..., bool]
    look: Callable[[], object]


class Doubts:
    """Doubts that wait to be settled, in the order in which they came up."""

    def __init__(self) -> None:
        self._found: list[_Doubt] = []
        self._held = 0

    def add(self, each: _Doubt, held: int) -> None:
        """Note a doubt, and settle all of them if they keep too much memory alive."""
        self._found.append(each)
        self._held += held
        if self._held > _HELD:
            self.settle()

    def settle(self, numbers: Sequence[Tensor] = ()) -> list[float]:
        """Look closely where a doubt is founded, and return other numbers, read with the doubts."""
        found, self._found, self._held = self._found, [], 0
        asked = [number for each in found for number in each.numbers]
        read = read_once([*([together(asked)] if asked else []), *numbers])
        told = iter(read[: len(asked)])
        for each in found:
            if each.wrong(*islice(told, len(each.numbers))):
                with at_once():
                    each.look()
        return read[len(asked) :]

    def gathered(self) -> AbstractContextManager[None]:
        """Let doubts that come up in here wait until somebody settles them."""
        return _way(self)


_CERTAIN = Doubts()  # which nobody settles
_now: ContextVar[Doubts | None] = ContextVar("doubts", default=None)


def doubt(
    found: Callable[[], Tensor | Sequence[Tensor]],
    look: Callable[[], object],
    held: int = 0,
    *,
    wrong: Callable[..., bool] = bool,
) -> None:
    """Call `look`, which raises if something is wrong, if that is what `found` returns.

    Within `doubts_together` that is at its end, with those of all others.

    Args:
        found: a bool, or numbers that tell whether values may be wrong, computed where they are.
        look: looks closely, and may read numbers.
        held: bytes of memory that live on in `look` alone.
        wrong: whether the numbers, as the host has read them, say so; it finds no fault with zeros.

    >>> import torch
    >>> doubt(lambda: torch.ones(2).sum() > 2, lambda: print("odd"))
    >>> with doubts_together():
    ...     doubt(lambda: torch.ones(3).sum() > 2, lambda: print("odd"))
    ...     print("later")
    later
    odd
    """
    doubts = _now.get()
    if doubts is _CERTAIN:
        return
    with torch.no_grad() if torch.is_grad_enabled() else nullcontext():
        numbers = found()
    new = _Doubt([numbers] if isinstance(numbers, Tensor) else numbers, wrong, look)
    if doubts is not None:
        doubts.add(new, held)
    elif wrong(*read_once([together(new.numbers)])):
        look()


@contextmanager
def doubts_together() -> Iterator[Doubts]:
    """Settle the doubts that come up in here at the end, by reading a single time.

    If something raises, what was wrong before is raised in its place, as the likely reason.
    """
    doubts = Doubts()
    try:
        with doubts.gathered():
            yield doubts
    except Exception as error:
        try:
            doubts.settle()
        except RuntimeError:  # of a device that is lost
            raise error from None
        except Exception as reason:
            raise reason from error
        raise
    doubts.settle()


def certain() -> AbstractContextManager[None]:
    """Doubt nothing in here, because it is checked elsewhere."""
    return _way(_CERTAIN)


def at_once() -> AbstractContextManager[None]:
    """Settle each doubt that comes up in here by itself."""
    return _way(None)


def waiting() -> bool:
    """Return whether a doubt that comes up now is settled later."""
    return isinstance(_now.get(), Doubts) and _now.get() is not _CERTAIN


@contextmanager
def _way(doubts: Doubts | None) -> Iterator[None]:
    token = _now.set(doubts)
    try:
        yield
    finally:
        _now.reset(token)
