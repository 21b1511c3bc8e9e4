"""Confusion matrix and intersection over union (IoU): which classes are taken for which."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import ArrayLike
from duda.evaluation.rows import LabelledRows, Rows
from duda.predictions.given import ClassesGiven
from duda.shown import Shown

__all__ = ["Confusion", "confused", "confusion"]


@dataclass(frozen=True, eq=False, repr=False)
class Confusion(Shown):
    """Counts of positions by true and by predicted class. Two add up to that of all positions.

    Args:
        matrix: `(C, C)`, a row for each true class and a column for each predicted one, int64.
    """

    headline = ("accuracy", "mean_iou")

    matrix: Int[Tensor, "C C"]

    def __add__(self, other: Confusion) -> Confusion:
        if self.matrix.shape != other.matrix.shape:
            raise ValueError(
                f"the matrices have {len(self.matrix)} and {len(other.matrix)} classes, expected "
                "equally many."
            )
        return Confusion(self.matrix + other.matrix)

    @property
    def iou(self) -> Float[Tensor, "C"]:
        """Intersection over union of each class; NaN where it is neither true nor predicted.

        Source: Everingham et al. 2010 (PASCAL VOC).
        """
        right = self.matrix.diagonal()
        return right / (self.matrix.sum(0) + self.matrix.sum(1) - right).double()

    @property
    def mean_iou(self) -> float:
        """Mean of the IoU over the classes that have one."""
        return float(self.iou.nanmean())

    @property
    def recall(self) -> Float[Tensor, "C"]:
        """Share of each true class that is found; NaN where it is never true."""
        return self.matrix.diagonal() / self.matrix.sum(1).double()

    @property
    def accuracy(self) -> float:
        """Share of positions whose class is found."""
        return int(self.matrix.diagonal().sum()) / int(self.matrix.sum())


def confusion(
    probs: ClassesGiven = None,
    y: ArrayLike | None = None,
    *,
    logits: ArrayLike | None = None,
    ignore_index: int | None = None,
) -> Confusion:
    """Return how often each class is taken for each, by the first of the most probable ones.

    Args:
        probs: a prediction, or `(N, C, *positions)`; every position counts.
        y: integer labels `(N, *positions)`.
        logits: in place of `probs`.
        ignore_index: the label of positions to leave out, whatever is predicted there.

    Raises:
        ValueError: if shapes differ, a label is not in 0 to C - 1, or there is NaN.

    >>> confusion([[0.7, 0.3], [0.4, 0.6], [0.2, 0.8]], [0, 0, 1]).iou
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """
    rows = LabelledRows(probs, y, logits, ignore_index, votes=False)
    return Confusion(torch.stack([confused(block) for block in rows]).sum(0).cpu())


def confused(rows: Rows) -> Int[Tensor, "C C"]:
    """Return the confusion matrix of a block of rows."""
    size = rows.values.shape[1]
    pairs = rows.target * size + rows.values.argmax(1)
    return torch.bincount(pairs, minlength=size**2).view(size, size)
