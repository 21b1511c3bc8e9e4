"""Nearest neighbors (deep k-NN): how far features are from the k-th nearest training example."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from duda.checks import check_count
from duda.detectors.feature_detector import FeatureDetector
from duda.fitted import check_that

__all__ = ["NearestNeighbors"]

_ROUNDING = 1e-9  # of lengths of one


@dataclass(eq=False, kw_only=True)
class NearestNeighbors(FeatureDetector):
    """The distance to the k-th nearest training example, all features scaled to length one.

    Features of zeros have no direction and stay zeros, one away from all others. Labels are not
    needed. Source: Sun et al. 2022.

    Args:
        k: which neighbor, from 1 up; an example that was fitted is its own first.

    Attributes:
        directions: features of the training examples at length one, `(N, D)`.

    >>> detector = NearestNeighbors(k=1).fit([[1.0, 0.0], [2.0, 0.0]])
    >>> detector.score([[3.0, 0.0], [0.0, 1.0]])
    tensor([0.0000, 1.4142], dtype=torch.float64)
    """

    k: int = 50
    directions: Float64[Tensor, "N D"] = field(init=False, repr=False)
    squares: Float64[Tensor, "N"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.k = check_count(self.k, "k")

    def check_learned(self) -> None:
        """Raise a `ValueError` if there are fewer neighbors than k, or some are not finite."""
        super().check_learned()
        self._check_count(self.directions)
        lengths = _lengths(self.directions)
        one = (lengths - 1).abs() < _ROUNDING
        check_that(one | (lengths == 0), "`directions` are not of length one")
        right = (self.squares - lengths.square()).abs() < _ROUNDING
        check_that(right, "`squares` are not those of its `directions`")

    def _check_count(self, rows: Tensor) -> None:
        if self.k > len(rows):
            raise ValueError(
                f"`features` has {len(rows)} examples, expected at least `k` = {self.k}: lower "
                "`k`, or give more."
            )

    def _learn(self, features: Tensor, labels: Tensor) -> None:
        self._check_count(features)
        self.directions = _directions(features.double())
        self.squares = self.directions.square().sum(1)

    def _size(self) -> tuple[int, int]:
        rows, width = self.directions.shape
        return rows, width

    def _score(self, features: Tensor) -> Tensor:
        directions = _directions(features)
        # The squared distances, but for a constant of each row: one product, nothing copied.
        nearness = torch.addmm(self.squares, directions, self.directions.T, alpha=-2)
        neighbors = nearness.topk(self.k, dim=1, largest=False).indices[:, -1]
        return _lengths(directions - self.directions[neighbors])


def _directions(rows: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
    lengths = _lengths(rows).unsqueeze(1)
    return rows / torch.where(lengths > 0, lengths, 1.0)


def _lengths(rows: Float[Tensor, "N D"]) -> Float[Tensor, "N"]:
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1)
    return lengths
