"""Density of features: a Gaussian for each class (DDU, GDA), whose negative log-density scores."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float64
from torch import Tensor

from duda.detectors.covariance import Scatter, Shrinkage, check_factors, check_shrinkage, whitened
from duda.detectors.feature_detector import FeatureDetector, by_class
from duda.fitted import check_that

__all__ = ["FeatureDensity"]


@dataclass(eq=False, kw_only=True)
class FeatureDensity(FeatureDetector):
    """Minus the log-density of features, nats, where each class has a normal distribution.

    log Σ πᶜ N(z; μᶜ, Σᶜ), π the share of the class (DDU). Source: Mukhoti et al. 2023.

    Args:
        shrinkage: of each class's covariance towards a multiple of the identity: its share in
            [0, 1], or `"ledoit-wolf"` for that of Ledoit & Wolf 2004.

    Attributes:
        means: of the classes, `(C, D)`.
        factors: the Cholesky factors of their covariances, `(C, D, D)`.
        log_shares: the logarithms of their shares, `(C)`.

    >>> features = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    >>> detector = FeatureDensity().fit(features, [0, 1] * 100)
    >>> near, far = detector.score([[0.0, 0.0], [9.0, 9.0]])
    >>> bool(near < far)
    True
    """

    needs_labels = True

    shrinkage: Shrinkage = "ledoit-wolf"
    means: Float64[Tensor, "C D"] = field(init=False, repr=False)
    factors: Float64[Tensor, "C D D"] = field(init=False, repr=False)
    log_shares: Float64[Tensor, "C"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.shrinkage = check_shrinkage(self.shrinkage)

    def check_learned(self) -> None:
        """Raise a `ValueError` unless all is finite, factors are some, and shares add up to one."""
        super().check_learned()
        check_factors(self.factors)
        total = float(self.log_shares.exp().sum())
        check_that(math.isclose(total, 1, abs_tol=1e-6), f"shares add up to {total:.6g}")

    def _learn(self, features: Tensor, labels: Tensor) -> None:
        means, factors, shares = [], [], []
        for label, rows in by_class(features, labels):
            means.append(rows.mean(0))
            scatter = Scatter.of(rows - means[-1])
            factors.append(scatter.factor(self.shrinkage, f"in class {label}"))
            shares.append(len(rows) / len(features))
        self.means, self.factors = torch.stack(means), torch.stack(factors)
        self.log_shares = torch.tensor(shares, dtype=torch.float64).log()

    def _size(self) -> tuple[int, int]:
        classes, width = self.means.shape
        return classes, width

    def _score(self, features: Tensor) -> Tensor:
        constant = features.shape[1] * math.log(2 * math.pi) / 2
        parts = []
        for mean, factor in zip(self.means, self.factors, strict=True):
            squares = whitened(features - mean, factor).square().sum(1)
            parts.append(-squares / 2 - factor.diagonal().log().sum() - constant)
        return -(torch.stack(parts, dim=1) + self.log_shares).logsumexp(1)
