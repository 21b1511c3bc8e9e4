"""Doubts about values: what a device finds odd is read once for many checks, not once for each.

To read a number back from a GPU is to wait for all that was asked of it before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from duda.transfer import sent

__all__ = ["Doubts", "certain", "doubt", "doubts_together"]

_HELD = 2**28  # bytes of batches that checks may keep alive until they are settled


class Doubts:
    """Doubts that wait to be settled, in the order in which they came up."""

    def __init__(self) -> None:
        self._found: list[tuple[Tensor, Callable[[], object]]] = []
        self._held = 0

    def add(self, found: Tensor, look: Callable[[], object], held: int) -> None:
        """Note a doubt, and settle all of them if they keep too much memory alive."""
        self._found.append((found, look))
        self._held += held
        if self._held > _HELD:
            self.settle()

    def settle(self) -> None:
        """Read all doubts at once, and look closely where one is founded."""
        found, self._found, self._held = self._found, [], 0
        if not found:
            return
        devices = {each.device for each, _ in found}
        device = next((each for each in devices if each.type != "cpu"), torch.device("cpu"))
        with _way(None):
            flags = torch.stack([sent(each, device) for each, _ in found])
            for founded, (_, look) in zip(flags.tolist(), found, strict=True):
                if founded:
                    look()


_CERTAIN = Doubts()  # which nobody settles
_now: ContextVar[Doubts | None] = ContextVar("doubts", default=None)


def doubt(found: Callable[[], Tensor], look: Callable[[], object], held: int = 0) -> None:
    """Call `look`, which raises if something is wrong, if the bool that `found` returns is True.

    Within `doubts_together` that is at its end, with those of all others.

    Args:
        found: whether values may be wrong, computed where they are.
        look: looks closely, and may read numbers.
        held: bytes of memory that live on in `look` alone.

    >>> doubt(lambda: torch.ones(2).sum() > 2, lambda: print("odd"))
    >>> with doubts_together():
    ...     doubt(lambda: torch.ones(3).sum() > 2, lambda: print("odd"))
    ...     print("later")
    later
    odd
    """
    doubts = _now.get()
    if doubts is None:
        if bool(found()):
            look()
    elif doubts is not _CERTAIN:
        doubts.add(found(), look, held)


@contextmanager
def doubts_together() -> Iterator[Doubts]:
    """Settle the doubts that come up in here at the end, by reading a single time.

    If something raises, what was wrong before is raised in its place, as the likely reason.
    """
    doubts = Doubts()
    try:
        with _way(doubts):
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


@contextmanager
def certain() -> Iterator[None]:
    """Doubt nothing in here, because it is checked elsewhere."""
    with _way(_CERTAIN):
        yield


@contextmanager
def _way(doubts: Doubts | None) -> Iterator[None]:
    token = _now.set(doubts)
    try:
        yield
    finally:
        _now.reset(token)
