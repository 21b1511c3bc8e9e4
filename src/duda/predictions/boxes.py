"""Object detections with uncertainty: what is there, whether, and where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import (
    ArrayLike,
    as_tensor,
    check_count,
    check_finite,
    check_same_shape,
    check_whole,
)
from duda.devices import on_exact_device
from duda.fitted import Kept
from duda.predictions.over_examples import OverExamples
from duda.storage import Format

__all__ = ["BoxPrediction", "checked_boxes"]

_ROUNDING = 1e-3  # of probabilities, as everywhere


@dataclass(frozen=True, eq=False, repr=False)
class BoxPrediction(OverExamples, Kept):
    """What a detector, or several, say of K boxes of one picture; of several pictures, a list.

    Given that it exists, the corners of a box are spread by what each member says (`within`) and by
    what they differ in (`between`), which add up to its covariance.

    Args:
        boxes: `(K, 4)`, left, top, right and bottom, the mean of each.
        probs: `(K, C)`, of C classes; what they lack to 1 is the background, no object at all.
        within: `(K, 4, 4)`, or variances `(K, 4)`, in squared units of the boxes; 0 by default.
        between: `(K, 4, 4)`; 0 by default.
        votes: `(K)`, how many of the members see the box; 1 by default.
        members: how many were asked.

    Raises:
        ValueError: if shapes differ, corners are crossed, or values cannot be.

    >>> found = BoxPrediction([[0, 0, 4, 2]], [[0.1, 0.6]], within=[[1, 1, 4, 4]])
    >>> found.labels, found.existence, found.std
    (tensor([1]), tensor([0.7000], dtype=torch.float64), tensor([[1., 1., 2., 2.]], dtype=torch.float64))
    """  # noqa: E501 # what Python prints

    format = Format("boxes")
    derived = ("existence", "labels", "confidence", "entropy", "std")

    boxes: Float[Tensor, "K 4"]
    probs: Float[Tensor, "K C"]
    within: Float[Tensor, "K 4 4"] = None  # type: ignore[assignment] # filled in
    between: Float[Tensor, "K 4 4"] = None  # type: ignore[assignment] # filled in
    votes: Int[Tensor, "K"] = None  # type: ignore[assignment] # filled in
    members: int = 1

    def __post_init__(self) -> None:
        boxes = checked_boxes(self.boxes)
        members = check_count(self.members, "members")
        made = {
            "boxes": boxes,
            "probs": _probs(self.probs, boxes),
            "within": _covariances(self.within, "within", boxes),
            "between": _covariances(self.between, "between", boxes),
            "votes": _votes(self.votes, members, boxes),
            "members": members,
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_logits(
        cls,
        boxes: ArrayLike,
        logits: ArrayLike,
        *,
        background: int = 0,
        within: ArrayLike | None = None,
    ) -> Self:
        """Return it by logits `(K, C + 1)` of a softmax, of which one column is the background's.

        Args:
            boxes: `(K, 4)`.
            logits: of all classes and the background.
            background: its column, such as 0 for an SSD and -1 for a DETR.
            within: variances `(K, 4)` or covariances `(K, 4, 4)`.

        Raises:
            ValueError: if there is no such column, or shapes differ.
        """
        values = as_tensor(logits, "logits").double()
        columns = values.shape[1] if values.ndim == 2 else 0
        place = check_whole(background, "background")
        if columns < 2 or not -columns <= place < columns:
            raise ValueError(
                f"`logits` has shape {tuple(values.shape)} and `background` is {place}, expected "
                "(K, C + 1) with a column of the background."
            )
        kept = [column for column in range(columns) if column != place % columns]
        return cls(boxes, values.softmax(1)[:, kept], within)  # type: ignore[arg-type] # checked there

    @classmethod
    def from_labels(
        cls,
        boxes: ArrayLike,
        labels: ArrayLike,
        scores: ArrayLike,
        classes: int,
        *,
        within: ArrayLike | None = None,
    ) -> Self:
        """Return it by a label and its probability for each box, as torchvision's detectors say.

        Args:
            boxes: `(K, 4)`.
            labels: `(K)`, 0 to C - 1: subtract 1 where 0 is the background.
            scores: `(K)`, probabilities; all else is taken for background.
            classes: C.
            within: variances `(K, 4)` or covariances `(K, 4, 4)`.

        Raises:
            ValueError: if labels are no such classes, or shapes differ.
        """
        found, sure = as_tensor(labels, "labels"), as_tensor(scores, "scores").double()
        count = check_count(classes, "classes")
        check_same_shape(found, "labels", tuple(sure.shape), "`scores`")
        if bool(((found < 0) | (found >= count)).any()):
            raise ValueError(
                f"`labels` holds {int(found.min())} to {int(found.max())}, expected 0 to "
                f"{count - 1}: subtract 1 if 0 is the background."
            )
        probs = torch.zeros(len(sure), count, dtype=torch.float64, device=sure.device)
        rows = probs.scatter(1, found.long().view(-1, 1), sure.view(-1, 1))
        return cls(boxes, rows, within)  # type: ignore[arg-type] # checked there

    @property
    def existence(self) -> Float[Tensor, "K"]:
        """Probability that there is an object, of any class."""
        return self.probs.sum(1).clamp(max=1)

    @property
    def labels(self) -> Int[Tensor, "K"]:
        """The likeliest class, given that there is one."""
        return self.probs.argmax(1)

    @property
    def confidence(self) -> Float[Tensor, "K"]:
        """Probability of that class."""
        return self.probs.amax(1)

    @property
    def entropy(self) -> Float[Tensor, "K"]:
        """Of classes and background, in nats."""
        background = (1 - self.existence).unsqueeze(1)
        shares: Tensor = torch.special.entr(torch.cat([self.probs, background], 1))
        return shares.sum(1)

    @property
    def covariance(self) -> Float[Tensor, "K 4 4"]:
        """Of the corners, by the law of total variance."""
        return self.within + self.between

    @property
    def std(self) -> Float[Tensor, "K 4"]:
        """Of each edge."""
        return self.covariance.diagonal(dim1=1, dim2=2).sqrt()


def checked_boxes(boxes: ArrayLike, name: str = "boxes") -> Float[Tensor, "K 4"]:
    """Return (left, top, right, bottom) of K boxes in float64; there may be none.

    Raises:
        ValueError: if they have another shape, are not finite, or their corners are crossed.
    """
    values = on_exact_device(as_tensor(boxes, name)).double()
    if tuple(values.shape) == (0,):  # an empty list
        values = values.view(0, 4)
    if values.ndim != 2 or values.shape[1] != 4:
        raise ValueError(
            f"`{name}` has shape {tuple(values.shape)}, expected (K, 4): left, top, right and "
            "bottom of each box."
        )
    if len(values):
        check_finite(values, name)
    crossed = (values[:, 2:] < values[:, :2]).any(1).nonzero()
    if len(crossed):
        first = int(crossed[0])
        raise ValueError(
            f"`{name}` has {len(crossed)} of {len(values)} with right < left or bottom < top, the "
            f"first {values[first].tolist()}, expected (left, top, right, bottom): convert sizes "
            "to corners, or leave them out."
        )
    return values


def _probs(probs: ArrayLike, boxes: Float[Tensor, "K 4"]) -> Float[Tensor, "K C"]:
    values = as_tensor(probs, "probs").double().to(boxes.device)
    if values.ndim != 2 or len(values) != len(boxes) or not values.shape[1]:
        raise ValueError(
            f"`probs` has shape {tuple(values.shape)}, expected ({len(boxes)}, C): of each class "
            "but the background, for each box."
        )
    if len(values):
        check_finite(values, "probs")
    sums = values.sum(1)
    if bool((values < -_ROUNDING).any()) or bool((sums > 1 + _ROUNDING).any()):
        raise ValueError(
            f"`probs` lie in [{float(values.min()):.4g}, {float(values.max()):.4g}] with sums up "
            f"to {float(sums.max()):.4g}, expected probabilities that add up to 1 at most: give "
            "logits to `BoxPrediction.from_logits`, scores by label to `from_labels`."
        )
    return values.clamp(min=0) / sums.clamp(min=1).unsqueeze(1)


def _covariances(
    value: ArrayLike | None, name: str, boxes: Float[Tensor, "K 4"]
) -> Float[Tensor, "K 4 4"]:
    if value is None:
        return boxes.new_zeros(len(boxes), 4, 4)
    values = as_tensor(value, name).double().to(boxes.device)
    if tuple(values.shape) == tuple(boxes.shape):
        values = torch.diag_embed(values)
    check_same_shape(values, name, (len(boxes), 4, 4), "`boxes`, or to variances (K, 4)")
    if not len(values):
        return values
    check_finite(values, name)
    largest = values.abs().amax((1, 2))
    uneven = (values - values.mT).abs().amax((1, 2)) > 1e-6 * largest
    values = (values + values.mT) / 2
    if bool((uneven | (torch.linalg.eigvalsh(values)[:, 0] < -1e-6 * largest)).any()):
        raise ValueError(
            f"`{name}` has variances below 0 or matrices that are no covariances, expected those "
            "of corners: square standard deviations, exponentiate logarithms."
        )
    return values


def _votes(value: ArrayLike | None, members: int, boxes: Float[Tensor, "K 4"]) -> Int[Tensor, "K"]:
    if value is None:
        return torch.ones(len(boxes), dtype=torch.int64, device=boxes.device)
    votes = as_tensor(value, "votes").to(boxes.device)
    check_same_shape(votes, "votes", (len(boxes),), "`boxes`")
    if bool(((votes < 1) | (votes > members)).any()):
        raise ValueError(
            f"`votes` holds {int(votes.min())} to {int(votes.max())}, expected 1 to `members`, "
            f"which is {members}."
        )
    return votes.long()
