"""What a gate promises: how its threshold is found, what it decides and what it may claim."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from duda.decisions.outcomes import Decision, Decisions

__all__ = ["Promise", "accept_up_to", "known_bad", "percent", "were_bad"]


class Promise(ABC):
    """The parameters of a promise, and what `fit` found; the subclasses are frozen dataclasses.

    Attributes:
        name: of the promise, as of the function of `Gate` that makes it.
        needs_bad: whether it rests on knowing which answers were bad.
        examples: how many it was fitted on, 0 before.
    """

    name: ClassVar[str]
    needs_bad: ClassVar[bool]
    examples: int

    @abstractmethod
    def fit(self, score: Float[Tensor, "N"], bad: Bool[Tensor, "N"] | None) -> Self:
        """Return the promise with what held-out examples say about it."""

    @abstractmethod
    def decide(self, score: Float[Tensor, "N"]) -> Decisions:
        """Return what to do about new examples."""

    @abstractmethod
    def summary(self) -> str:
        """Return in plain sentences what is promised, and what it rests on."""


def accept_up_to(score: Float[Tensor, "N"], threshold: float) -> Decisions:
    """Return decisions that accept scores of at most `threshold` and refuse the others."""
    return Decisions(torch.where(score <= threshold, Decision.ACCEPT, Decision.REFUSE))


def known_bad(bad: Bool[Tensor, "N"] | None) -> Bool[Tensor, "N"]:
    """Return `bad`, or raise a `TypeError` if it is missing where a promise rests on it."""
    if bad is None:
        raise TypeError("`bad` is missing, expected which of the held-out answers were bad.")
    return bad


def percent(share: float) -> str:
    """Return `share` as people read it.

    >>> percent(0.9543)
    '95.43 %'
    """
    return f"{100 * share:.4g} %"


def were_bad(count: int) -> str:
    """Return how many of those named before were bad, in words.

    >>> were_bad(1), were_bad(2000)
    ('of which 1 was bad', 'of which 2,000 were bad')
    """
    return f"of which {count:,} {'was' if count == 1 else 'were'} bad"
