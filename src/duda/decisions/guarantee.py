"""Guarantees of gates: how a threshold is found, what it decides and what it may claim."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from typing import ClassVar, Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from duda.decisions.gate_json import first_version
from duda.decisions.outcomes import Decision, Decisions
from duda.fitted import Fitted, check_that
from duda.storage import Format

__all__ = ["Guarantee", "percent", "were_bad"]


class Guarantee(Fitted, ABC):
    """The level that a gate is to guarantee, and what `fit` found on held-out examples.

    Attributes:
        name: of the guarantee, as of the function of `Gate` that makes it.
        needs_bad: whether it rests on knowing which answers were bad.
        examples: how many it was fitted on.
        threshold: the largest score that is accepted, where `decide` goes by one.
    """

    format = Format("gate", version=2)
    name: ClassVar[str]
    needs_bad: ClassVar[bool]
    examples: int
    threshold: float

    @abstractmethod
    def fit(self, score: Float[Tensor, "N"], bad: Bool[Tensor, "N"]) -> Self:
        """Learn from held-out examples, and return itself; `bad` counts if it `needs_bad`."""

    def decide(self, score: Float[Tensor, "N"]) -> Decisions:
        """Return what to do about new examples: accept scores up to the threshold."""
        return Decisions(torch.where(score <= self.threshold, Decision.ACCEPT, Decision.REFUSE))

    @abstractmethod
    def summary(self) -> str:
        """Return in plain sentences what is guaranteed, and what it rests on."""

    def check_fitted(self) -> None:
        """Raise a `ValueError` if `fit` was not called yet."""
        if not self.is_fitted:
            raise ValueError(
                "the gate is not fitted: call `gate.fit(prediction, y)` with held-out examples."
            )

    def check_learned(self) -> None:
        """Raise a `ValueError` if something is NaN, or there were no examples."""
        super().check_learned()
        if self.examples < 1:
            raise ValueError("it was not fitted: fit it and save it again.")

    def _check_bad(self, bad: int) -> None:
        check_that(0 <= bad <= self.examples, f"`bad` is {bad} of {self.examples} examples")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote, also what version 0.1 did.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is damaged or holds something else.
        """
        old = first_version(path)
        if old is None:
            return super().load(path)
        name, state = old
        kinds = {kind.name: kind.__name__ for kind in cls._kinds().values()}
        return cls.restored(path, kinds.get(name, name), state)


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
