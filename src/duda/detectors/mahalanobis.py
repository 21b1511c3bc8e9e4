"""Mahalanobis distance: how far features are from the nearest class, by a shared covariance."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float64
from torch import Tensor

from duda.detectors.covariance import Scatter, Shrinkage, check_factors, check_shrinkage, whitened
from duda.detectors.feature_detector import FeatureDetector, by_class

__all__ = ["Mahalanobis"]


@dataclass(eq=False, kw_only=True)
class Mahalanobis(FeatureDetector):
    """The squared distance to the nearest class mean, by the covariance that all classes share.

    Source: Lee et al. 2018, eqs. 1 and 2, with the covariance shrunk towards a multiple of the
    identity; `shrinkage=0` is the paper's.

    Args:
        shrinkage: the identity's share in [0, 1], or `"ledoit-wolf"` for that of Ledoit & Wolf
            2004.

    Attributes:
        center: the mean of the class means, `(D)`.
        factor: the Cholesky factor of the covariance, `(D, D)`.
        whitened_means: of the classes, about the center, by the inverse factor, `(C, D)`.

    >>> features = [[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [5.0, 5.0], [7.0, 5.0], [5.0, 7.0]]
    >>> detector = Mahalanobis(shrinkage=0).fit(features, [0, 0, 0, 1, 1, 1])
    >>> detector.score([[1.0, 1.0], [10.0, -3.0]])
    tensor([ 0.5000, 84.5000], dtype=torch.float64)
    """

    needs_labels = True

    shrinkage: Shrinkage = "ledoit-wolf"
    center: Float64[Tensor, "D"] = field(init=False, repr=False)
    factor: Float64[Tensor, "D D"] = field(init=False, repr=False)
    whitened_means: Float64[Tensor, "C D"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.shrinkage = check_shrinkage(self.shrinkage)

    def check_learned(self) -> None:
        """Raise a `ValueError` unless all is finite, and the factor one of a covariance."""
        super().check_learned()
        check_factors(self.factor)

    def _learn(self, features: Tensor, labels: Tensor) -> None:
        means, scatters = [], []
        for _, rows in by_class(features, labels):
            means.append(rows.mean(0))
            scatters.append(Scatter.of(rows - means[-1]))
        total = scatters[0]
        for scatter in scatters[1:]:
            total += scatter
        self.factor = total.factor(self.shrinkage, "within classes")
        stacked = torch.stack(means)
        # Distances lose digits far from the origin: put it among the classes.
        self.center = stacked.mean(0)
        self.whitened_means = whitened(stacked - self.center, self.factor)

    def _size(self) -> tuple[int, int]:
        classes, width = self.whitened_means.shape
        return classes, width

    def _score(self, features: Tensor) -> Tensor:
        rows = whitened(features - self.center, self.factor)
        return torch.cdist(rows, self.whitened_means).amin(1).square()
