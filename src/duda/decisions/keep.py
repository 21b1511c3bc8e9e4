"""Coverage guarantees: a gate that keeps a share of what is like the held-out examples."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Self

from jaxtyping import Bool, Float
from torch import Tensor

from duda.checks import check_share, counted, exact_share
from duda.decisions.guarantee import Guarantee, percent
from duda.fitted import check_that

__all__ = ["Keep"]

_SURE = 0.95  # the probability with which `least_kept` holds


@dataclass(eq=False)
class Keep(Guarantee):
    """Accept at least `share` of new examples, if they are exchangeable with the held-out ones.

    The threshold is the ⌈(n + 1) · share⌉-th smallest of n held-out scores, or infinite if there
    are fewer. The guarantee is on average over held-out sets: with one at hand the share kept is
    Beta-distributed about it, or above that where scores tie.
    Source: Vovk et al. 2005, section 2.2; Vovk 2012.

    Args:
        share: of the examples that are kept: the coverage.

    Attributes:
        examples: n.
        threshold: the largest score that is accepted.
    """

    share: float
    examples: int = field(init=False, repr=False)
    threshold: float = field(init=False, repr=False)

    name: ClassVar[str] = "keep"
    needs_bad: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self.share = check_share(self.share, "share")

    def fit(self, score: Float[Tensor, "N"], bad: Bool[Tensor, "N"]) -> Self:
        """Find the threshold, and return itself; which examples were bad does not matter."""
        rank = self._rank(len(score))
        enough = rank <= len(score)
        self.threshold = float(score.kthvalue(rank).values) if enough else math.inf
        self.examples = len(score)
        return self

    def check_learned(self) -> None:
        """Raise a `ValueError` unless the threshold can be one of so many examples."""
        super().check_learned()
        few = self._rank(self.examples) > self.examples
        possible = self.threshold == math.inf if few else self.threshold > -math.inf
        check_that(possible, f"`threshold` is {self.threshold} for {self.examples} examples")

    @property
    def least_kept(self) -> float:
        """What this threshold keeps at least, with 95 % probability over the held-out examples."""
        from scipy.special import betaincinv

        rank = self._rank(self.examples)
        if rank > self.examples:
            return 1.0
        return float(betaincinv(rank, self.examples + 1 - rank, 1 - _SURE))

    def summary(self) -> str:
        """Return in plain sentences what is guaranteed, and what it rests on."""
        text = f"Rests on {counted(self.examples, 'held-out example')}. "
        if self._rank(self.examples) > self.examples:
            return text + (
                f"Accepts everything: to refuse anything and still keep {percent(self.share)} "
                f"takes at least {self._fewest():,} examples."
            )
        return text + (
            f"Accepts scores up to {self.threshold:.6g}. Guarantee: at least {percent(self.share)} "
            "of new examples like these are accepted, on average over sets of held-out examples; "
            f"with this one at least {percent(self.least_kept)}, with {percent(_SURE)} probability."
        )

    def _rank(self, examples: int) -> int:
        # As a fraction, since in floating point (99 + 1) * 0.07 is more than 7.
        return math.ceil((examples + 1) * exact_share(self.share))

    def _fewest(self) -> int:
        share = exact_share(self.share)
        return math.ceil(share / (1 - share))
