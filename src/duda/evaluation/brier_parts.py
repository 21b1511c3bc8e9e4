"""Parts of the Brier score: reliability, resolution and uncertainty."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from duda.checks import ArrayLike
from duda.evaluation.bins import Bins
from duda.evaluation.rows import LabelledRows
from duda.predictions.given import ClassesGiven

__all__ = ["BrierParts", "brier_parts"]


@dataclass(frozen=True)
class BrierParts:
    """Parts of the Brier score, each a sum over classes of that of the class against the rest.

    The score is reliability - resolution + uncertainty + within_variance - within_covariance. The
    last two make up for forecasts that differ inside a bin, and are 0 where none do.
    Source: Murphy 1973; Stephenson et al. 2008 (within bins).

    Args:
        reliability: squared distance of the bins' mean forecasts to what came true; 0 is best.
        resolution: variance of what came true between bins; higher is better.
        uncertainty: variance of what came true, whatever the forecasts.
        within_variance: of forecasts inside their bins.
        within_covariance: twice that of forecasts and what came true, inside their bins.
    """

    reliability: float
    resolution: float
    uncertainty: float
    within_variance: float
    within_covariance: float

    @property
    def score(self) -> float:
        """The Brier score."""
        return self.reliability + self.refinement

    @property
    def refinement(self) -> float:
        """What the score would be with every bin's mean forecast right; lower is better."""
        return self.uncertainty - self.generalized_resolution

    @property
    def generalized_resolution(self) -> float:
        """Resolution between bins, and what forecasts tell apart or blur inside them."""
        return self.resolution - self.within_variance + self.within_covariance


def brier_parts(
    probs: ClassesGiven = None,
    y: ArrayLike | None = None,
    *,
    bins: int = 15,
    logits: ArrayLike | None = None,
    ignore_index: int | None = None,
) -> BrierParts:
    """Return the exact parts of `brier`, over bins of equal width of each class's probability.

    Args:
        probs: a prediction, or `(N, C, *positions)`; every position counts as an example.
        y: integer labels `(N, *positions)`, or shares of votes in the shape of `probs`.
        bins: how many.
        logits: in place of `probs`.
        ignore_index: the label of positions to leave out.

    Raises:
        ValueError: if shapes differ, a label is not in 0 to C - 1, or there is NaN.

    >>> parts = brier_parts([[0.75, 0.25], [0.75, 0.25]], [0, 1])
    >>> parts.reliability, parts.resolution, parts.uncertainty, parts.score
    (0.125, 0.0, 0.5, 0.625)
    """
    rows = LabelledRows(probs, y, logits, ignore_index)
    scale = Bins.of_equal_width(bins, rows.device)
    tallies = [scale.count_classes(block)[:3] for block in rows]
    counts, hits, sums = (torch.stack(part).sum(0) for part in zip(*tallies, strict=True))
    examples = counts[0].sum()
    forecast = (sums / counts).nan_to_num(0)
    came_true = (hits / counts.double()).nan_to_num(0)
    overall = hits.sum(1, keepdim=True) / examples
    within = torch.zeros(3, dtype=torch.float64, device=rows.device)
    for block in rows:
        values, truth = block.probs.double(), block.shares()
        index = scale.index(values).t()
        away = values - forecast.gather(1, index).t()
        surplus = truth - came_true.gather(1, index).t()
        within[0] += (truth - overall.t()).square().sum()
        within[1] += away.square().sum()
        within[2] += 2 * (away * surplus).sum()
    reliability = (counts * (forecast - came_true).square()).sum()
    resolution = (counts * (came_true - overall).square()).sum()
    found = torch.stack([reliability, resolution, *within]) / examples
    return BrierParts(*found.tolist())
