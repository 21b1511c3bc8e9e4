"""Scores of how foreign an input is, from features of a network; higher is more foreign.

All are fitted to features of training examples, and then called on those of others:
`score = Mahalanobis().fit(features, y)`, `score(other_features)`. `features_of` finds features.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_count, check_finite, check_not_empty
from duda.evaluation.covariance import Scatter, Shrinkage, check_shrinkage
from duda.inputs import hard_labels

__all__ = ["FeatureDensity", "FeatureScore", "Mahalanobis", "NearestNeighbours"]

_ENTRIES = 2**24  # float64 numbers at work at once, 128 MiB: enough rows for quick products


class FeatureScore(ABC):
    """A score that is fitted to features `(N, D)` of training examples, in float64 on the CPU."""

    _width: int | None = None

    def fit(self, features: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Learn what is familiar.

        Args:
            features: `(N, D)`, finite.
            y: integer labels `(N)`; nearest neighbours need none.

        Raises:
            ValueError: if shapes differ, features are NaN or infinite, a class has too few
                examples, or a covariance is singular.
        """
        values = _checked(features)
        self._fit(values, y)
        self._width = values.shape[1]
        return self

    def __call__(self, features: ArrayLike) -> Float[Tensor, "N"]:
        """Return the score of each example, higher is more foreign.

        Raises:
            ValueError: if nothing was fitted, or `features` are no `(N, D)` finite numbers.
        """
        if self._width is None:
            raise ValueError(
                f"this {type(self).__name__} has seen no features: call `fit(features, y)` first."
            )
        values = _checked(features)
        if values.shape[1] != self._width:
            raise ValueError(
                f"`features` has shape {tuple(values.shape)}, expected (N, {self._width}) as they "
                "were fitted: take them from the same layer."
            )
        at_once = max(1, _ENTRIES // self._entries())
        starts = range(0, len(values), at_once)
        return torch.cat([self._score(values[i : i + at_once].double()) for i in starts])

    @abstractmethod
    def _fit(self, features: Float[Tensor, "N D"], y: ArrayLike | None) -> None:
        """Keep what `_score` needs."""

    @abstractmethod
    def _entries(self) -> int:
        """Return how many numbers are at work for one example."""

    @abstractmethod
    def _score(self, features: Float[Tensor, "N D"]) -> Float[Tensor, "N"]:
        """Return the scores of some examples, in float64."""


class Mahalanobis(FeatureScore):
    """The squared distance to the nearest class mean, by the covariance that all classes share.

    Source: Lee et al. 2018, eqs. 1 and 2, with the covariance shrunk towards a multiple of the
    identity; `shrinkage=0` is the paper's.

    Args:
        shrinkage: the identity's share in [0, 1], or `"ledoit-wolf"` for that of Ledoit & Wolf
            2004.

    >>> features = [[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [5.0, 5.0], [7.0, 5.0], [5.0, 7.0]]
    >>> score = Mahalanobis(shrinkage=0).fit(features, [0, 0, 0, 1, 1, 1])
    >>> score([[1.0, 1.0], [10.0, -3.0]])
    tensor([ 0.5000, 84.5000], dtype=torch.float64)
    """

    def __init__(self, *, shrinkage: Shrinkage = "ledoit-wolf") -> None:
        check_shrinkage(shrinkage)
        self.shrinkage = shrinkage

    def _fit(self, features: Tensor, y: ArrayLike | None) -> None:
        means, scatters = [], []
        for _, rows in _by_class(features, y):
            means.append(rows.mean(0))
            scatters.append(Scatter.of(rows - means[-1]))
        total = scatters[0]
        for scatter in scatters[1:]:
            total += scatter
        self._factor = total.factor(self.shrinkage, "within classes")
        stacked = torch.stack(means)
        # Distances lose digits far from the origin: put it among the classes.
        self._centre = stacked.mean(0)
        self._means = self._whitened(stacked)

    def _entries(self) -> int:
        return max(self._means.shape)

    def _score(self, features: Tensor) -> Tensor:
        return torch.cdist(self._whitened(features), self._means).amin(1).square()

    def _whitened(self, features: Tensor) -> Tensor:
        return _solved(self._factor, features - self._centre)


class NearestNeighbours(FeatureScore):
    """The distance to the k-th nearest training example, all features scaled to length one.

    Features of zeros have no direction and stay zeros, one away from all others.
    Source: Sun et al. 2022.

    Args:
        k: which neighbour, from 1 up; an example that was fitted is its own first.

    >>> score = NearestNeighbours(k=1).fit([[1.0, 0.0], [2.0, 0.0]])
    >>> score([[3.0, 0.0], [0.0, 1.0]])
    tensor([0.0000, 1.4142], dtype=torch.float64)
    """

    def __init__(self, *, k: int = 50) -> None:
        self.k = check_count(k, "k")

    def _fit(self, features: Tensor, y: ArrayLike | None) -> None:
        if y is not None:
            _labels(y, features)
        if self.k > len(features):
            raise ValueError(
                f"`features` has {len(features)} examples, expected at least `k` = {self.k}: lower "
                "`k`, or give more."
            )
        self._known = _directions(features.double())
        self._squares = self._known.square().sum(1)

    def _entries(self) -> int:
        return max(self._known.shape)

    def _score(self, features: Tensor) -> Tensor:
        directions = _directions(features)
        # The squared distances, but for a constant of each row: one product, nothing copied.
        nearness = torch.addmm(self._squares, directions, self._known.T, alpha=-2)
        neighbours = nearness.topk(self.k, dim=1, largest=False).indices[:, -1]
        return _lengths(directions - self._known[neighbours])


class FeatureDensity(FeatureScore):
    """Minus the log-density of features, nats, where each class has a normal distribution.

    log Σ πᶜ N(z; μᶜ, Σᶜ), π the share of the class (DDU). Source: Mukhoti et al. 2023.

    Args:
        shrinkage: of each class's covariance towards a multiple of the identity: its share in
            [0, 1], or `"ledoit-wolf"` for that of Ledoit & Wolf 2004.

    >>> features = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    >>> score = FeatureDensity().fit(features, [0, 1] * 100)
    >>> near, far = score([[0.0, 0.0], [9.0, 9.0]])
    >>> bool(near < far)
    True
    """

    def __init__(self, *, shrinkage: Shrinkage = "ledoit-wolf") -> None:
        check_shrinkage(shrinkage)
        self.shrinkage = shrinkage

    def _fit(self, features: Tensor, y: ArrayLike | None) -> None:
        means, factors, shares = [], [], []
        for label, rows in _by_class(features, y):
            means.append(rows.mean(0))
            scatter = Scatter.of(rows - means[-1])
            factors.append(scatter.factor(self.shrinkage, f"in class {label}"))
            shares.append(len(rows) / len(features))
        self._means, self._factors = torch.stack(means), factors
        self._log_shares = torch.tensor(shares, dtype=torch.float64).log()

    def _entries(self) -> int:
        return max(self._means.shape)

    def _score(self, features: Tensor) -> Tensor:
        constant = features.shape[1] * math.log(2 * math.pi) / 2
        parts = []
        for mean, factor in zip(self._means, self._factors, strict=True):
            squares = _solved(factor, features - mean).square().sum(1)
            parts.append(-squares / 2 - factor.diagonal().log().sum() - constant)
        return -(torch.stack(parts, dim=1) + self._log_shares).logsumexp(1)


def _checked(features: ArrayLike) -> Float[Tensor, "N D"]:
    values = as_tensor(features, "features").cpu()
    if values.ndim != 2:
        raise ValueError(
            f"`features` has shape {tuple(values.shape)}, expected (N, D): average or flatten "
            "positions."
        )
    check_not_empty(values, "features")
    check_finite(values, "features")
    return values


def _labels(y: ArrayLike | None, features: Tensor) -> Int[Tensor, "N"]:
    return hard_labels(y, (len(features), torch.iinfo(torch.int32).max))  # of any number of classes


def _by_class(features: Tensor, y: ArrayLike | None) -> Iterator[tuple[int, Float[Tensor, "n D"]]]:
    """Yield the features of each class in float64, if each has enough for a covariance."""
    labels = _labels(y, features)
    classes, counts = torch.unique(labels, return_counts=True)
    if int(counts.min()) < 2:
        raise ValueError(
            f"`y` has 1 example of class {int(classes[counts.argmin()])}, expected at least 2 of "
            "each: give more, or leave the class out."
        )
    for label in classes.tolist():
        yield label, features[labels == label].double()


def _directions(rows: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
    lengths = _lengths(rows).unsqueeze(1)
    return rows / torch.where(lengths > 0, lengths, 1.0)


def _lengths(rows: Float[Tensor, "N D"]) -> Float[Tensor, "N"]:
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1)
    return lengths


def _solved(factor: Float[Tensor, "D D"], rows: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
    """Return rows whose squared lengths are those of `rows` by the inverse covariance."""
    solved: Tensor = torch.linalg.solve_triangular(factor.T, rows, upper=True, left=False)
    return solved
