"""Families of numbers for the tests: those of duda, and two of a user's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from duda import (
    GaussianPrediction,
    Histogram,
    LaplacianPrediction,
    NumberPrediction,
    QuantilePrediction,
    StudentTPrediction,
)
from tests.families import LogisticPrediction

N, M = 60, 5


@dataclass(frozen=True, eq=False, repr=False)
class UniformPrediction(NumberPrediction):
    """Between two ends, those of each draw kept on the last dimension."""

    lower: Tensor
    upper: Tensor
    draws: Tensor | None = None
    joint: bool = field(default=False, kw_only=True)

    @property
    def mean(self) -> Tensor:  # type: ignore[override]
        return (self.lower + self.upper) / 2

    @property
    def std(self) -> Tensor:  # type: ignore[override]
        return (self.upper - self.lower) / math.sqrt(12)

    def quantile(self, q: float) -> Tensor:
        return torch.lerp(self.lower, self.upper, q)

    def cdf(self, y: object) -> Tensor:
        return ((self._target(y) - self.lower) / (self.upper - self.lower)).clamp(0, 1)

    def log_prob(self, y: object) -> Tensor:
        inside = (self.cdf(y) > 0) & (self.cdf(y) < 1)
        return torch.where(inside, -(self.upper - self.lower).log(), -math.inf)

    def components(self) -> Sequence[UniformPrediction]:
        if self.draws is None:
            return [self]
        return [UniformPrediction(*each.unbind(-1)) for each in self.draws]


def families(outputs: int) -> dict[str, NumberPrediction]:
    """Return predictions for the same N examples, of which those with draws have joint ones."""
    random = torch.Generator().manual_seed(0)
    means = torch.randn(1, N, outputs, generator=random, dtype=torch.float64)
    means = means + torch.randn(M, N, outputs, generator=random, dtype=torch.float64) / 2
    variances = torch.rand(means.shape, generator=random, dtype=torch.float64) + 0.5
    mean, variance, spread = means.mean(0), variances.mean(0), means.var(0, correction=0)
    df = torch.full_like(means, 5.0)
    draws = torch.cat([means, variances], 2)
    ends = torch.stack([means - 10 * variances, means + 10 * variances], -1)
    logistic = LogisticPrediction(mean, variance.sqrt())
    levels = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99]
    quantiles = torch.stack([logistic.quantile(level) for level in levels], 1)
    both = StudentTPrediction(
        mean, variance, spread, torch.cat([draws, df], 2), df=df[0], joint=True
    )
    edges = tuple(torch.linspace(-8, 8, 33).tolist())
    middles = torch.linspace(-7.75, 7.75, 32).view(-1, 1).double()
    logits = -(middles - means.unsqueeze(2)).square() / (2 * variances.unsqueeze(2))
    histogram = Histogram(edges=edges).reduce(logits.flatten(2, 3), keep_draws=True)
    return {
        "gaussian": GaussianPrediction(mean, variance),
        "gaussian draws": GaussianPrediction(mean, variance, spread, draws, joint=True),
        "laplacian draws": LaplacianPrediction(mean, variance, spread, draws, joint=True),
        "student t": StudentTPrediction(mean, variance, spread, df=df[0]),
        "student t draws": both,
        "quantiles": QuantilePrediction(quantiles, levels),
        "histogram draws": histogram.with_joint(True),
        "least": logistic,
        "stretched draws": both.affine(torch.tensor(2.0), torch.tensor(1.0)),
        "own draws": UniformPrediction(*ends.mean(0).unbind(-1), draws=ends, joint=True),
    }
