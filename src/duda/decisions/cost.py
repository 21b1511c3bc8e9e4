"""Chow's rule: least cost of errors, of abstaining, and of deferring to a person."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from duda.checks import check_at_least_0, counted
from duda.decisions.guarantee import Guarantee, were_bad
from duda.decisions.outcomes import Decision, Decisions
from duda.fitted import check_that

__all__ = ["Cost"]


@dataclass(eq=False)
class Cost(Guarantee):
    """Accept low scores, ask a person about those between, refuse high ones, as is cheapest.

    A right answer that is accepted costs nothing, a person's answer counts as right. Of two
    constant prices, `refusal` and `asking`, only the lower is ever paid, unless it is cheaper to
    refuse what is bad (`refused_error`) than what is good: then a person looks at what is unclear.
    The thresholds are those of least cost on the held-out examples, of equals those that accept
    least; this is an estimate without a guarantee. Source: Chow 1970; Yao 2010 for three outcomes.

    Args:
        error: of accepting a bad answer.
        refusal: of refusing an answer; None if nothing may be refused.
        asking: of asking a person; None if nobody can be asked.
        refused_error: of refusing a bad answer, if that differs from `refusal`.

    Attributes:
        examples: how many it was fitted on, of which
        bad: were bad.
        mean_cost: of an example, with these thresholds.
        threshold: the largest score that is accepted.
        ask_threshold: the largest score about which a person is asked.
    """

    error: float
    refusal: float | None = None
    asking: float | None = None
    refused_error: float | None = None
    examples: int = field(init=False, repr=False)
    bad: int = field(init=False, repr=False)
    mean_cost: float = field(init=False, repr=False)
    threshold: float = field(init=False, repr=False)
    ask_threshold: float = field(init=False, repr=False)

    name: ClassVar[str] = "cost"
    needs_bad: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("error", "refusal", "asking", "refused_error"):
            price = getattr(self, name)
            if name == "error" or price is not None:
                setattr(self, name, check_at_least_0(price, name, "cost"))
        if self.refusal is None and self.asking is None:
            raise ValueError(
                "`refusal` and `asking` are both None, expected a price for at least one: with "
                "neither, everything is accepted."
            )
        if self.refused_error is not None and self.refusal is None:
            raise ValueError(
                f"`refused_error` is {self.refused_error!r}, but nothing may be refused: give "
                "`refusal`."
            )

    def check_learned(self) -> None:
        """Raise a `ValueError` unless counts, cost and the order of the thresholds can be."""
        super().check_learned()
        self._check_bad(self.bad)
        of_all = self.error * self.bad / self.examples
        check_that(
            0 <= self.mean_cost <= of_all * (1 + 1e-9),
            f"`mean_cost` is {self.mean_cost}, but accepting everything costs {of_all}",
        )
        last = math.inf if self.refusal is None else self.ask_threshold
        first = self.ask_threshold if self.asking is None else self.threshold
        check_that(
            first == self.threshold <= self.ask_threshold == last,
            f"`threshold` is {self.threshold}, and `ask_threshold` {self.ask_threshold}",
        )

    def fit(self, score: Float[Tensor, "N"], bad: Bool[Tensor, "N"]) -> Self:
        """Find the cheapest pair of thresholds, in one pass, and return itself."""
        distinct, group = torch.unique(score, return_inverse=True)
        counts = _summed(torch.bincount(group))
        errors = _summed(torch.bincount(group[bad], minlength=len(distinct)))
        first, last, total = self._cheapest(counts, errors)
        thresholds = torch.cat([distinct.new_full((1,), -math.inf), distinct])
        some_asked = self.asking is not None and last == len(distinct)
        self.examples, self.bad, self.mean_cost = len(score), int(bad.sum()), total / len(score)
        self.threshold = float(thresholds[first])
        self.ask_threshold = math.inf if some_asked else float(thresholds[last])
        return self

    def decide(self, score: Float[Tensor, "N"]) -> Decisions:
        """Accept up to one threshold, ask up to the other, refuse beyond it."""
        beyond = torch.where(score <= self.ask_threshold, Decision.ASK, Decision.REFUSE)
        return Decisions(torch.where(score <= self.threshold, Decision.ACCEPT, beyond))

    def summary(self) -> str:
        """Return in plain sentences what is claimed, and what it rests on."""
        then = "refuses the rest"
        if self.ask_threshold > self.threshold:
            asks_all = math.isinf(self.ask_threshold)
            then = "asks a person about " + (
                "the rest"
                if asks_all
                else f"those up to {self.ask_threshold:.6g}, refuses the rest"
            )
        return (
            f"Rests on {counted(self.examples, 'held-out example')}, {were_bad(self.bad)}. "
            f"Accepts scores up to {self.threshold:.6g}, {then}. On these examples that costs "
            f"{self.mean_cost:.4g} each, the least of all thresholds; accepting everything costs "
            f"{self.error * self.bad / self.examples:.4g}. This is an estimate: no bound is "
            "guaranteed for new examples."
        )

    def _cheapest(
        self, counts: Int[Tensor, "K+1"], errors: Int[Tensor, "K+1"]
    ) -> tuple[int, int, float]:
        """Return how many of the K scores to accept and, at least as many, not to refuse."""
        accepting = self.error * errors.double()
        refusing = self._refusing(counts[-1] - counts, errors[-1] - errors)
        if self.asking is None:
            total = accepting + refusing
            best = int(total.argmin())
            return best, best, float(total[best])
        asking = self.asking * counts.double()
        saved = accepting - asking  # of the cost of asking about all up to here
        total = saved.cummin(0).values + asking + refusing
        last = int(total.argmin())
        return int(saved[: last + 1].argmin()), last, float(total[last])

    def _refusing(self, counts: Int[Tensor, "K"], errors: Int[Tensor, "K"]) -> Float[Tensor, "K"]:
        """Return the cost of refusing so many examples, so many of them bad."""
        if self.refusal is None:
            return torch.where(counts == 0, 0.0, math.inf).double()
        of_bad = self.refusal if self.refused_error is None else self.refused_error
        return self.refusal * (counts - errors).double() + of_bad * errors.double()


def _summed(counts: Tensor) -> Tensor:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
