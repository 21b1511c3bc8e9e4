"""Label errors by confident learning, from probabilities and labels alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from duda.checks import ArrayLike
from duda.inputs import class_probs, hard_labels

__all__ = ["LabelErrors", "label_errors"]


@dataclass(frozen=True, eq=False, repr=False)
class LabelErrors:
    """What predictions say of N labels; see `label_errors`.

    Attributes:
        thresholds: of each class, the mean probability of it among the examples labelled so; +inf
            for a class that no example is labelled with, to which none can then belong.
        confident_joint: how many examples with label i (row) belong to class j (column) for sure.
        labels: as given.
        belongs_to: the most probable of the classes that reach their threshold, of equal ones
            rather the label; -1 where none does.
        self_confidence: the probability of the label; low is suspect.
        normalized_margin: (p_label - the highest other p + 1) / 2, in [0, 1]; low is suspect.
    """

    thresholds: Float[Tensor, "C"]
    confident_joint: Int[Tensor, "C C"]
    labels: Int[Tensor, "N"]
    belongs_to: Int[Tensor, "N"]
    self_confidence: Float[Tensor, "N"]
    normalized_margin: Float[Tensor, "N"]

    @property
    def suspect(self) -> Bool[Tensor, "N"]:
        """True for examples that belong, for sure, to another class than their label's."""
        return (self.belongs_to >= 0) & (self.belongs_to != self.labels)

    def candidates(
        self, by: Literal["normalized_margin", "self_confidence"] = "normalized_margin"
    ) -> Int[Tensor, "K"]:
        """Return the indices of the suspect examples, the worst first, then by index.

        Raises:
            ValueError: if `by` is neither of the two.
        """
        if by not in ("normalized_margin", "self_confidence"):
            raise ValueError(f"`by` is {by!r}, expected 'normalized_margin' or 'self_confidence'.")
        suspect = self.suspect.nonzero().squeeze(1)
        quality: Tensor = getattr(self, by)
        return suspect[quality[suspect].argsort(stable=True)]

    def __repr__(self) -> str:
        return f"LabelErrors({int(self.suspect.sum())} suspect of {len(self.labels)} labels)"


def label_errors(
    probs: ArrayLike | None = None,
    y: ArrayLike | None = None,
    *,
    logits: ArrayLike | None = None,
) -> LabelErrors:
    """Return which labels are likely wrong, by confident learning.

    Take probabilities for examples that the model was not trained on, as by cross-validation: a
    network that has learnt the wrong labels by heart finds none of them.
    Source: Northcutt et al. 2021, eq. 1, without its calibration of the joint.

    Args:
        probs: `(N, C)`.
        y: integer labels `(N,)`.
        logits: in place of `probs`.

    Raises:
        ValueError: if shapes differ, a label is not in 0 to C - 1, or there is NaN.

    >>> label_errors([[0.9, 0.1], [0.8, 0.2], [0.2, 0.8], [0.9, 0.1]], [0, 0, 1, 1]).candidates()
    tensor([3])
    """
    values = class_probs(probs, logits).double()
    if values.ndim != 2:
        raise ValueError(
            f"`probs` has shape {tuple(values.shape)}, expected (N, C): move positions into the "
            "examples, as by `probs.movedim(1, -1).flatten(0, -2)`."
        )
    labels = hard_labels(y, tuple(values.shape))
    own = values.gather(1, labels.unsqueeze(1)).squeeze(1)
    others = values.scatter(1, labels.unsqueeze(1), -math.inf).amax(1)
    thresholds = _thresholds(own, labels, values.shape[1])
    found = _belonging(values, labels, own, thresholds)
    sure = found >= 0
    joint = torch.zeros(len(thresholds), len(thresholds), dtype=torch.int64)
    joint.index_put_((labels[sure], found[sure]), torch.tensor(1), accumulate=True)
    return LabelErrors(thresholds, joint, labels, found, own, (own - others + 1) / 2)


def _thresholds(own: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the mean of `own` in each class, the same in any order of the examples."""
    means = []
    for label in range(classes):
        chosen = own[labels == label]
        mean = math.fsum(chosen.tolist()) / len(chosen) if len(chosen) else math.inf
        # Equal numbers must reach their own mean, which rounding may have put above them.
        means.append(min(mean, float(chosen.max())) if len(chosen) else mean)
    return torch.tensor(means, dtype=torch.float64)


def _belonging(values: Tensor, labels: Tensor, own: Tensor, thresholds: Tensor) -> Tensor:
    """Return the class that each example belongs to, or -1; of equal classes rather its label."""
    reached = values.where(values >= thresholds, -1.0)
    best, first = reached.max(1)
    own_reached = own >= thresholds[labels]
    return torch.where(own_reached & (own == best), labels, first).where(best >= 0, -1)
