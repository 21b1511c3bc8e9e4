"""Detectors on features: what they ask of features, and how many they score at a time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from duda.batches import Batch
from duda.checks import ArrayLike, as_tensor, check_finite, check_not_empty
from duda.detectors.base import Detector
from duda.detectors.features import Positions, read_features
from duda.inputs import hard_labels

__all__ = ["FeatureDetector", "by_class"]

_ENTRIES = 2**24  # float64 numbers at work at once, 128 MiB: enough rows for quick products


class FeatureDetector(Detector):
    """A detector on features `(N, D)`, which works in float64 on the CPU."""

    def fit(self, x: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Learn what is in distribution, and return itself.

        Args:
            x: features `(N, D)`, finite.
            y: integer labels `(N)`, where the detector needs them.

        Raises:
            ValueError: if shapes differ, features are NaN or infinite, a class has too few
                examples, or a covariance is singular.
        """
        features = _checked(x)
        labels = torch.zeros(len(features), dtype=torch.int64)  # one class where none are given
        if y is not None or self.needs_labels:
            labels = hard_labels(y, (len(features), torch.iinfo(torch.int32).max))
        self._learn(features, labels)
        return self

    def score(self, x: ArrayLike) -> Float[Tensor, "N"]:
        """Return the score of each example, higher is more out-of-distribution.

        Args:
            x: features `(N, D)`, from the layer that those of `fit` came from.

        Raises:
            ValueError: if nothing was fitted, or `x` are no `(N, D)` finite numbers.
        """
        self.check_fitted()
        features = _checked(x)
        rows, width = self._size()
        if features.shape[1] != width:
            raise ValueError(
                f"`features` has shape {tuple(features.shape)}, expected (N, {width}) as they "
                "were fitted: take them from the same layer."
            )
        pieces = torch.split(features, max(1, _ENTRIES // max(rows, width)))
        return torch.cat([self._score(piece.double()) for piece in pieces])

    def read(
        self,
        network: nn.Module,
        batches: Iterable[Batch],
        layer: str | None,
        positions: Positions | None,
    ) -> Float[Tensor, "N D"]:
        """Return the features of inputs, as `features_of` does."""
        return read_features(network, batches, layer, positions)

    def check_learned(self) -> None:
        """Raise a `ValueError` if something learned is NaN or infinite."""
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                check_finite(value, name, "save the detector again")

    @abstractmethod
    def _learn(self, features: Float[Tensor, "N D"], labels: Int[Tensor, "N"]) -> None:
        """Fill the learned fields."""

    @abstractmethod
    def _size(self) -> tuple[int, int]:
        """Return how many rows each example is compared with, and D."""

    @abstractmethod
    def _score(self, features: Float[Tensor, "N D"]) -> Float[Tensor, "N"]:
        """Return the scores of some examples, in float64."""


def by_class(
    features: Float[Tensor, "N D"], labels: Int[Tensor, "N"]
) -> Iterator[tuple[int, Float[Tensor, "n D"]]]:
    """Yield the features of each class in float64, if each has enough for a covariance."""
    classes, counts = torch.unique(labels, return_counts=True)
    if int(counts.min()) < 2:
        raise ValueError(
            f"`y` has 1 example of class {int(classes[counts.argmin()])}, expected at least 2 of "
            "each: give more, or leave the class out."
        )
    for label in classes.tolist():
        yield label, features[labels == label].double()


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
