"""Coverage of targets, beside what the conformal guarantee and its calibration let one expect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_share
from duda.decisions.conformal.quantile import conformal_rank

__all__ = ["GroupCoverage", "GuaranteedCoverage", "calibration_counts", "covered_by_group"]


@dataclass(frozen=True, eq=False)
class GroupCoverage:
    """How many of the examples of each of G groups were covered.

    Args:
        hits: `(G)`, covered ones, int64.
        counts: `(G)`, all of them, int64.
    """

    hits: Int[Tensor, "G"]
    counts: Int[Tensor, "G"]

    @property
    def observed(self) -> Float[Tensor, "G"]:
        """Share covered; NaN where there are no examples."""
        return self.hits.double() / self.counts

    @property
    def overall(self) -> float:
        """Share covered of the examples of all groups."""
        return float(self.hits.sum().double() / self.counts.sum())

    def confidence(self, level: float = 0.95) -> tuple[Float[Tensor, "G"], Float[Tensor, "G"]]:
        """Return between which shares the true ones lie with probability `level`, each.

        Exact, for independent test examples; 0 to 1 where there are none.
        Source: Clopper & Pearson 1934.

        Raises:
            ValueError: unless 0 < `level` < 1.
        """
        from scipy.special import betaincinv

        level = check_share(level, "level")
        hits, misses = self.hits.numpy(), (self.counts - self.hits).numpy()
        low = np.where(hits > 0, betaincinv(np.maximum(hits, 1), misses + 1, (1 - level) / 2), 0)
        high = np.where(misses > 0, betaincinv(hits + 1, np.maximum(misses, 1), (1 + level) / 2), 1)
        return torch.from_numpy(low), torch.from_numpy(high)


@dataclass(frozen=True, eq=False)
class GuaranteedCoverage(GroupCoverage):
    """Coverage in groups for each of which a threshold was calibrated.

    With n calibration examples and k = ⌈(n + 1)(1 - alpha)⌉ the coverage of new examples is
    Beta-distributed with parameters k and n + 1 - k over calibration sets, if scores do not tie
    (else it is higher), and 1 if k > n. Source: Vovk 2012, proposition 2a.

    Args:
        calibration: `(G)`, n, int64.
        alpha: the share that may be missed.
    """

    calibration: Int[Tensor, "G"]
    alpha: float

    @property
    def expected(self) -> Float[Tensor, "G"]:
        """K / (n + 1), the mean over calibration sets of what is covered."""
        total = self.calibration.double() + 1
        return self._ranks().double() / total

    def band(self, level: float = 0.95) -> tuple[Float[Tensor, "G"], Float[Tensor, "G"]]:
        """Return between which shares the observed ones lie with probability `level`, each.

        By the beta-binomial distribution: over calibration sets, and over test sets of this size.
        NaN where there are no examples.

        Raises:
            ValueError: unless 0 < `level` < 1.
        """
        level = check_share(level, "level")
        rows = torch.stack([self._ranks(), self.calibration, self.counts], 1).tolist()
        ends = [_interval(rank, n + 1 - rank, count, level) for rank, n, count in rows]
        low, high = torch.tensor(ends, dtype=torch.float64).t()
        return low / self.counts, high / self.counts

    def __str__(self) -> str:
        low, high = self.band()
        sizes = sorted(set(self.calibration.tolist()))
        n = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
        text = (
            f"coverage {self.overall:.4g} of {int(self.counts.sum()):,}, guaranteed at least "
            f"{1 - self.alpha:.4g}, calibrated on {n} examples"
        )
        if len(self.counts) > 1:
            inside = int(((low <= self.observed) & (self.observed <= high)).sum())
            present = int((self.counts > 0).sum())
            return f"{text}; {inside} of {present} groups lie where 95 % are expected"
        if float(self.expected) == 1:
            return f"{text}: too few, so that everything is covered"
        return (
            f"{text}; expected {float(self.expected):.4g}, and {float(low):.4g} to "
            f"{float(high):.4g} in 95 % of such calibrations and tests"
        )

    def _ranks(self) -> Int[Tensor, "G"]:
        return torch.tensor([conformal_rank(n, self.alpha) for n in self.calibration.tolist()])


def calibration_counts(calibration: ArrayLike, groups: int, of: str) -> Int[Tensor, "G"]:
    """Return on how many examples thresholds rest: one number, or one for each of the groups.

    >>> calibration_counts(99, 10, "class")
    tensor([99])
    """
    counts = as_tensor(calibration, "calibration").cpu().reshape(-1)
    whole = counts.long()
    if len(counts) not in (1, groups) or bool(((whole != counts) | (counts < 0)).any()):
        raise ValueError(
            f"`calibration` is {calibration!r}, expected the number of examples that the threshold "
            f"rests on, or one for each of {groups} thresholds, by {of}."
        )
    return whole


def covered_by_group(
    covered: Tensor, group: Int[Tensor, "N"], groups: int
) -> tuple[Int[Tensor, "G"], Int[Tensor, "G"]]:
    """Return how many are covered, and how many there are, in each group."""
    return (
        torch.bincount(group[covered], minlength=groups).cpu(),
        torch.bincount(group, minlength=groups).cpu(),
    )


def _interval(a: int, b: int, count: int, level: float) -> tuple[int, int]:
    """Return the central interval of a beta-binomial number out of `count`.

    As `scipy.stats.betabinom.interval`, which takes seconds for large counts.
    """
    from scipy.special import betaln

    if b == 0:
        return count, count
    hits = np.arange(count + 1)
    log_ways = -betaln(hits + 1, count - hits + 1) - np.log(count + 1)
    below = np.exp(log_ways + betaln(hits + a, count - hits + b) - betaln(a, b)).cumsum()
    low, high = np.searchsorted(below, [(1 - level) / 2, (1 + level) / 2])
    return int(low), int(min(high, count))
