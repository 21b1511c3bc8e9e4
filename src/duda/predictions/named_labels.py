"""Labels by the names of their classes, in what a prediction says and in what it is asked about."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Self, TypeVar

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import ArrayLike
from duda.class_names import ClassNames, check_names
from duda.devices import exact_device
from duda.inputs import binary_labels, hard_labels

__all__ = ["NamedLabels"]

Y = TypeVar("Y")


class NamedLabels:
    """What a prediction of classes has from knowing their names."""

    classes: tuple[str, ...] | None
    log_probs: Float[Tensor, "N C *positions"]

    @property
    def labels(self) -> Int[Tensor, "N *positions"]:
        """The most probable class."""
        return self.log_probs.argmax(1)

    @property
    def label_names(self) -> np.ndarray:
        """The name of the most probable class, `(N, *positions)`; its number where it has none."""
        names = self.classes or tuple(map(str, range(self.log_probs.shape[1])))
        found: np.ndarray = np.array(names)[self.labels.cpu().numpy()]
        return found

    def with_classes(self, classes: Sequence[str] | None) -> Self:
        """Return the prediction with the names of its classes; None leaves it.

        Raises:
            ValueError: if there are not as many.
        """
        if classes is None:
            return self
        named = copy.copy(self)
        object.__setattr__(named, "classes", self._checked_names(classes))
        return named

    def _checked_names(self, classes: Sequence[str]) -> tuple[str, ...]:
        names = check_names(classes)
        if len(names) != self.log_probs.shape[1]:
            raise ValueError(
                f"`classes` has {len(names)} names, expected {self.log_probs.shape[1]}."
            )
        return names

    def numbers_of(self, y: Y) -> Y | Tensor:
        """Return the numbers of the classes where labels are names of them, else `y` as it is.

        Of two classes they may be as a loss on one logit takes them, 0.0 and 1.0.

        Raises:
            ValueError: if one is none of the names.
        """
        if self.classes:
            return ClassNames(self.classes).coded(y, "y")
        return binary_labels(y, tuple(self.log_probs.shape))

    def _target(self, y: ArrayLike) -> Int[Tensor, "N 1 *positions"]:
        return self._labels_like(y).unsqueeze(1)

    def _labels_like(self, y: ArrayLike) -> Int[Tensor, "N *positions"]:
        """Return labels that fit, where their losses are computed."""
        shape, place = tuple(self.log_probs.shape), exact_device(self.log_probs.device)
        return hard_labels(self.numbers_of(y), shape, device=place)
