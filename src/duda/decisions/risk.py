"""Risk-coverage guarantees: selective prediction with few errors among what is accepted."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from duda.checks import ArrayLike, check_share, counted
from duda.decisions.binomial import fewest_without_event, upper_rate
from duda.decisions.guarantee import Guarantee, percent, were_bad
from duda.fitted import check_that

__all__ = ["Risk"]

_MOST_TRIED = 30  # thresholds; more are finer, but each weakens the bounds of all


@dataclass(eq=False)
class Risk(Guarantee):
    """Accept as many examples as possible, at most `level` of them bad, with `confidence`.

    Tried are thresholds just below the held-out scores of ranks that depend on nothing but n. Given
    such a score, the examples below it are independent draws from what its threshold accepts, ties
    or not, so the exact binomial bound holds for each; each gets its part of 1 - `confidence`
    (Bonferroni), so all hold together, and the largest threshold with a bound of at most `level`
    may be chosen. Source: Clopper & Pearson 1934; Geifman & El-Yaniv 2017 for the problem, whose
    search visits ranks that depend on the errors; Angelopoulos et al. 2022 for the testing.

    Args:
        level: the share of bad examples among the accepted.
        confidence: the probability, over held-out sets, that the guarantee holds.

    Attributes:
        examples: n, of which
        bad: were bad.
        tried: how many thresholds were tried.
        accepted: how many held-out examples the threshold accepts, of which
        accepted_bad: were bad.
        bound: what the share of bad ones among new accepted examples does not exceed.
        threshold: the largest score that is accepted.
    """

    level: float
    confidence: float = 0.95
    examples: int = field(init=False, repr=False)
    bad: int = field(init=False, repr=False)
    tried: int = field(init=False, repr=False)
    accepted: int = field(init=False, repr=False)
    accepted_bad: int = field(init=False, repr=False)
    bound: float = field(init=False, repr=False)
    threshold: float = field(init=False, repr=False)

    name: ClassVar[str] = "risk"
    needs_bad: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.level = check_share(self.level, "level")
        self.confidence = check_share(self.confidence, "confidence")

    def check_learned(self) -> None:
        """Raise a `ValueError` unless the bound is at most the level, and follows from counts."""
        super().check_learned()
        self._check_bad(self.bad)
        found, accepted = self.accepted_bad, self.accepted
        check_that(
            0 <= found <= min(accepted, self.bad) and accepted <= self.examples,
            f"`accepted_bad` is {found}, of {accepted} accepted and {self.bad} bad examples",
        )
        tried = len(self._counts(self.examples))
        check_that(self.tried == tried, f"`tried` is {self.tried} thresholds, expected {tried}")
        bound = float(self._bounds(found, accepted, tried))
        right = math.isclose(self.bound, bound, rel_tol=1e-9)
        check_that(
            right and bound <= self.level,
            f"`bound` is {self.bound}, expected {bound}, and at most {self.level}",
        )
        check_that(self.threshold > -math.inf, f"`threshold` is {self.threshold}")

    def fit(self, score: Float[Tensor, "N"], bad: Bool[Tensor, "N"]) -> Self:
        """Find the largest threshold that can be guaranteed, and return itself.

        Raises:
            ValueError: if none can.
        """
        ordered, order = score.sort()
        counts = self._counts(len(score))
        thresholds = _just_below(ordered, counts.to(ordered.device))
        accepted = torch.searchsorted(ordered, thresholds, right=True)
        errors = bad[order].cumsum(0)
        accepted_bad = torch.where(accepted > 0, errors[(accepted - 1).clamp(min=0)], 0)
        # A few numbers, of which the bounds are scipy's.
        thresholds, accepted, accepted_bad = (
            each.cpu() for each in (thresholds, accepted, accepted_bad)
        )
        bounds = self._bounds(accepted_bad, accepted, len(counts))
        if not bool((bounds <= self.level).any()):
            best = int(bounds.argmin())
            raise ValueError(self._impossible(int(accepted_bad[best]), int(accepted[best]), bounds))
        chosen = int((bounds <= self.level).nonzero().max())
        self.examples, self.bad, self.tried = len(score), int(bad.sum()), len(counts)
        self.accepted = int(accepted[chosen])
        self.accepted_bad = int(accepted_bad[chosen])
        self.bound = float(bounds[chosen])
        self.threshold = float(thresholds[chosen])
        return self

    def summary(self) -> str:
        """Return in plain sentences what is guaranteed, and what it rests on."""
        return (
            f"Rests on {counted(self.examples, 'held-out example')}, {were_bad(self.bad)}. "
            f"Accepts scores up to {self.threshold:.6g}: of these examples {self.accepted:,}, "
            f"{were_bad(self.accepted_bad)}. Guarantee: of new examples like these that are "
            f"accepted, at most {percent(self.level)} are bad, with {percent(self.confidence)} "
            f"confidence (exact binomial bound {percent(self.bound)}, which allows for the "
            f"{self.tried} thresholds tried)."
        )

    def _bounds(self, bad: ArrayLike, accepted: ArrayLike, tried: int) -> Float[Tensor, "*K"]:
        """Return the bounds that hold together, of as many thresholds as were tried."""
        return upper_rate(bad, accepted, 1 - (1 - self.confidence) / tried)

    def _counts(self, examples: int) -> Int[Tensor, "K"]:
        """Return how many examples the thresholds are to accept: a rule that sees no score."""
        fewest = self._fewest(1)
        if examples < fewest:
            raise ValueError(
                f"no threshold can guarantee {self._words()}, from {counted(examples, 'example')}, "
                f"expected at least {fewest:,}, as many as it takes without a single bad one: give "
                "more, or ask for less."
            )
        # With three or more, the first is to accept half of the examples or fewer.
        parts = [
            tried
            for tried in range(1, _MOST_TRIED + 1)
            if min(tried - 1, 2) * self._fewest(tried) <= examples
        ]
        if len(parts) == 1:
            return torch.tensor([examples])
        ends = (self._fewest(parts[-1]), examples)
        return torch.linspace(*ends, parts[-1], dtype=torch.float64).round().long()

    def _fewest(self, tried: int) -> int:
        """Return the least that a threshold must accept to be guaranteed, as one of so many."""
        return fewest_without_event(self.level, 1 - (1 - self.confidence) / tried)

    def _impossible(self, bad: int, accepted: int, bounds: Tensor) -> str:
        return (
            f"no threshold can guarantee {self._words()}: of {len(bounds)} tried, the best accepts "
            f"{counted(accepted, 'held-out example')} with {counted(bad, 'bad one')}, which "
            f"bounds the rate by {percent(float(bounds.min()))} only; give more examples or a "
            "better score, or ask for less."
        )

    def _words(self) -> str:
        return (
            f"that at most {percent(self.level)} of the accepted are bad, with "
            f"{percent(self.confidence)} confidence"
        )


def _just_below(ordered: Float[Tensor, "N"], counts: Int[Tensor, "K"]) -> Float[Tensor, "K"]:
    """Return thresholds that accept so many scores or, where they tie, fewer; all of them: inf."""
    following = torch.cat([ordered, ordered.new_full((1,), math.inf)])[counts]
    below = torch.nextafter(following, torch.full_like(following, -math.inf))
    return torch.where(counts == len(ordered), math.inf, below)
