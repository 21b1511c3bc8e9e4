"""Several labels as classes: true or false at each of L places, and labels beside them."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

from torch import Tensor

from duda.checks import ArrayLike, as_tensor
from duda.predictions.base import Prediction
from duda.predictions.classes import ClassPrediction

__all__ = ["ByLabel"]


class ByLabel(Prediction):
    """Predictions of labels, which metrics and decisions take as two classes at each.

    Attributes:
        by_label: a prediction of the classes 0 and 1 at each label, `(N, 2, L, *positions)`.
    """

    by_label: ClassPrediction

    def as_classes(self) -> ClassPrediction:
        """Return the prediction as one of the classes 0 and 1, with labels as its positions.

        It is `(N, 2, L, *positions)`, or `(N, 2, *positions)` of a single label. Metrics and
        decisions of classes take it so: each label counts as an example.
        """
        found = self.by_label
        if self.said_shape[0] == 1:
            found = _only(found, 0)
        return found.with_joint(self.joint, self.drawn)

    def of_label(self, number: int) -> ClassPrediction:
        """Return what is said of one label, as the classes 0 and 1: for its reliability, say.

        Raises:
            IndexError: if there is no such label.
        """
        count = self.said_shape[0]
        if not -count <= number < count:
            raise IndexError(f"`number` is {number}, expected a label of {count}, from 0.")
        return _only(self.by_label, number).with_joint(self.joint, self.drawn)

    def with_labels(self, classes: ClassPrediction) -> Self:
        """Return the prediction with what was made of `as_classes`: other probabilities."""
        if self.said_shape[0] == 1 and classes.log_probs.ndim == self.by_label.log_probs.ndim - 1:
            classes = _with_one_label(classes)
        changed = replace(self, by_label=classes)  # type: ignore[type-var] # who inherits is one
        return changed.with_joint(self.joint, self.drawn)

    def numbers_of(self, y: ArrayLike) -> Tensor:
        """Return labels of the shape of what is predicted, a row of a single one as a column.

        Raises:
            ValueError: if they are a class for each example.
        """
        labels, shape = as_tensor(y, "y"), self.by_label.aleatoric.shape
        if labels.shape != (shape[0], *shape[2:]):
            return labels
        if shape[1] == 1:
            return labels.unsqueeze(1)
        raise ValueError(
            f"`y` has shape {tuple(labels.shape)}, a class for each example, expected 0 or 1 for "
            f"each of {shape[1]} labels: call `F.one_hot(y, {shape[1]})`, or predict classes by "
            "`duda.Categorical()`."
        )

    def class_numbers_of(self, y: ArrayLike) -> Tensor:
        """Return labels in the form of `as_classes`, without a dimension for a single one."""
        labels, single = self.numbers_of(y), self.said_shape[0] == 1
        return labels.squeeze(1) if single and labels.ndim == 1 + len(self.said_shape) else labels


def _only(found: ClassPrediction, label: int) -> ClassPrediction:
    """Return the classes 0 and 1 of a single label."""
    return replace(
        found,
        log_probs=found.log_probs[:, :, label],
        aleatoric=found.aleatoric[:, label],
        votes=found.votes[:, :, label],
        draws=None if found.draws is None else found.draws[:, :, :, label],
    )


def _with_one_label(found: ClassPrediction) -> ClassPrediction:
    """Return the classes 0 and 1 as those at a single label."""
    return replace(
        found,
        log_probs=found.log_probs.unsqueeze(2),
        aleatoric=found.aleatoric.unsqueeze(1),
        votes=found.votes.unsqueeze(2),
        draws=None if found.draws is None else found.draws.unsqueeze(3),
    )
