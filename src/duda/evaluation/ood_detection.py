"""Out-of-distribution detection (AUROC, AUPR, FPR95): two data sets told apart by their scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from duda.checks import check_count, check_share
from duda.evaluation import curves
from duda.evaluation.given import scores_of_both
from duda.evaluation.ranking import Ranking, rank
from duda.inputs import scores
from duda.predictions.given import ScoresGiven
from duda.progress import progress
from duda.shown import Shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Separation", "ood"]

_TPR = 0.95
_ENTRIES = 2**15  # counts at work at once: they stay in the processor's cache

_MEANINGS = {
    "auroc": "AUROC",
    "aupr_out": "AUPR, out of distribution positive",
    "aupr_in": "AUPR, in distribution positive",
    "fpr95_out": "share of in flagged, where 95 % of out are",
    "fpr95_in": "share of out accepted, where 95 % of in are",
}


@dataclass(frozen=True, eq=False, repr=False)
class Separation(Shown):
    """How well a score tells what is out of distribution from what is in it.

    Papers call either kind positive: names that end in `out` or `in` say which. The AUPRs are
    average precisions; `ranking.aupr_trapezoid` and `ranking.opposite.aupr_trapezoid` are the
    others. Only the order of scores counts, so that they may be of any size.

    Args:
        ranking: of all examples, those out of distribution bad.
    """

    headline = ("auroc",)

    ranking: Ranking

    @property
    def n_in(self) -> int:
        """How many examples in distribution there are."""
        return int(self.ranking.false_alarms[-1])

    @property
    def n_out(self) -> int:
        """How many examples out of distribution there are."""
        return int(self.ranking.caught[-1])

    @property
    def auroc(self) -> float:
        """Probability that one from out of distribution outscores one in it, a tie half."""
        return self.ranking.auroc

    @property
    def aupr_out(self) -> float:
        """Average precision with those out of distribution positive."""
        return self.ranking.average_precision

    @property
    def aupr_in(self) -> float:
        """Average precision with those in distribution positive, the lowest scores first."""
        return self.ranking.opposite.average_precision

    @property
    def fpr95_out(self) -> float:
        """Share in distribution with scores from `threshold_out` up: 95 % of the others caught."""
        return self.ranking.fpr_at(_TPR)

    @property
    def fpr95_in(self) -> float:
        """Share out of distribution with scores up to `threshold_in`: 95 % of the others kept.

        Source: Liang et al. 2018 (ODIN); what most papers mean by FPR95.
        """
        return self.ranking.opposite.fpr_at(_TPR)

    @property
    def threshold_out(self) -> float:
        """The highest score from which up 95 % of those out of distribution lie."""
        return self.ranking.threshold_at(_TPR)

    @property
    def threshold_in(self) -> float:
        """The lowest score up to which 95 % of those in distribution lie: the one to accept by."""
        return -self.ranking.opposite.threshold_at(_TPR)

    def intervals(
        self, *, level: float = 0.95, resamples: int = 1000, seed: int = 0
    ) -> dict[str, tuple[float, float]]:
        """Return the ends of an interval for `auroc`, `aupr_...` and `fpr95_...`, by name.

        They are percentiles over draws with replacement of as many examples, of each kind apart.
        The global random state stays as it was. Source: Efron & Tibshirani 1993, chapter 13.

        Raises:
            ValueError: unless 0 < `level` < 1 and `resamples` is a whole number of at least 1.

        >>> ood([0.1, 0.2], [0.3, 0.4]).intervals()["auroc"]
        (1.0, 1.0)
        """
        level = check_share(level, "level")
        resamples = check_count(resamples, "resamples")
        generator = np.random.default_rng(seed)
        counts = self._counts()
        at_once = max(1, _ENTRIES // (self.n_in + self.n_out))
        found = []
        starts = range(0, resamples, at_once)
        for start in progress(starts, "resample", len(starts)):
            many = min(at_once, resamples - start)
            found.append(_figures(*(_resampled(each, many, generator) for each in counts)))
        ends = [(1 - level) / 2, (1 + level) / 2]
        low, high = np.quantile(torch.cat(found, 1).numpy(), ends, axis=1).tolist()
        return dict(zip(_MEANINGS, zip(low, high, strict=True), strict=True))

    def table(self, *, level: float = 0.95, resamples: int = 1000, seed: int = 0) -> str:
        """Return all figures with their `intervals`, a line each."""
        intervals = self.intervals(level=level, resamples=resamples, seed=seed)
        wide = max(map(len, _MEANINGS.values()))
        lines = [f"{self.n_in:,} examples in distribution, {self.n_out:,} out of it"]
        for name, meaning in _MEANINGS.items():
            low, high = intervals[name]
            value = getattr(self, name)
            lines.append(f"{meaning:{wide}}  {value:.4f}  [{low:.4f}, {high:.4f}]")
        lines.append(f"{'95 % of in have a score of at most':{wide}}  {self.threshold_in:.4g}")
        lines.append(f"{'95 % of out have a score of at least':{wide}}  {self.threshold_out:.4g}")
        lines.append(f"[ ]: {100 * level:.4g} % of {resamples:,} bootstrap draws.")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the histograms of both kinds of scores, and `threshold_in`."""
        from duda.plots.detection import two_histograms

        outside, inside = self._counts()
        return two_histograms(
            self.ranking.thresholds.cpu().numpy(), inside, outside, self.threshold_in, ax
        )

    def _counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Return how many examples out of distribution, and in it, have each score."""
        ranking = self.ranking
        caught, false_alarms = (
            curves.steps(each).cpu().numpy() for each in (ranking.caught, ranking.false_alarms)
        )
        return caught, false_alarms


def ood(id_scores: ScoresGiven, ood_scores: ScoresGiven) -> Separation:
    """Return how well a score, higher for less likely, finds what is out of distribution.

    Args:
        id_scores: of examples in distribution: a prediction, or numbers of any shape, each an
            example.
        ood_scores: of examples out of distribution, as many or not.

    Raises:
        TypeError: if they are predictions with different scores.
        ValueError: if one of them is empty or holds NaN.

    >>> found = ood([0.1, 0.2, 0.3, 0.6], [0.5, 0.7])
    >>> found.auroc, found.fpr95_out, found.threshold_in
    (0.875, 0.25, 0.6)
    """
    id_scores, ood_scores = scores_of_both(id_scores, ood_scores)
    inside = scores(id_scores, "id_scores").flatten()
    outside = scores(ood_scores, "ood_scores").flatten().to(inside.device)
    places = torch.arange(len(inside) + len(outside), device=inside.device)
    is_outside = places >= len(inside)
    return Separation(rank(torch.cat([inside, outside]), is_outside))


def _figures(caught: Tensor, false_alarms: Tensor) -> Float64[Tensor, "figures *many"]:
    """Return the figures from cumulated counts, in the order of their names."""
    kept, passed = curves.opposite(caught, false_alarms)
    return torch.stack(
        [
            curves.auroc(caught, false_alarms),
            curves.average_precision(caught, false_alarms),
            curves.average_precision(kept, passed),
            curves.fpr_at(caught, false_alarms, _TPR),
            curves.fpr_at(kept, passed, _TPR),
        ]
    )


def _resampled(
    counts: Int64[np.ndarray, "K"], many: int, generator: np.random.Generator
) -> Int64[Tensor, "many K"]:
    """Return cumulated counts of as many examples drawn with replacement, `many` times."""
    groups = np.repeat(np.arange(len(counts)), counts)
    drawn = groups[generator.integers(len(groups), size=(many, len(groups)))]
    drawn += len(counts) * np.arange(many)[:, None]
    found = np.bincount(drawn.ravel(), minlength=many * len(counts))
    return torch.from_numpy(found.reshape(many, len(counts)).cumsum(1))
