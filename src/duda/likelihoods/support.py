"""Support of targets: which numbers a likelihood can be asked for, and what is said of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor

from duda.doubts import doubt

__all__ = ["Support", "check_support"]

Support = Literal["numbers", "positive", "counts", "shares"]


class _Kind(NamedTuple):
    outside: Callable[[Tensor], Tensor]
    expected: str


_KINDS = {
    "positive": _Kind(
        lambda y: ~(y > 0), "numbers above 0: model zeros apart, or take a likelihood of counts"
    ),
    "shares": _Kind(
        lambda y: ~((y > 0) & (y < 1)),
        "shares above 0 and below 1: of n examples give `(y * (n - 1) + 0.5) / n`, or model 0 and "
        "1 apart",
    ),
    "counts": _Kind(
        lambda y: ~((y >= 0) & (y == y.floor())),
        "counts, which are whole numbers from 0: count anew, or take a likelihood of numbers",
    ),
}


def check_support(y: Tensor, support: Support) -> None:
    """Raise a `ValueError` if finite targets are outside of the support.

    >>> import torch
    >>> check_support(torch.tensor([0.5, 3.0]), "positive")
    """
    if support == "numbers":
        return
    outside, expected = _KINDS[support]

    def look() -> None:
        wrong = y[outside(y)]
        raise ValueError(
            f"`y` holds {float(wrong[0]):.6g} and {len(wrong) - 1} more such, expected {expected}."
        )

    doubt(lambda: outside(y).any(), look)
