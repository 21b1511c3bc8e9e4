"""Objects of segmentations: connected pixels of a class, how sure they are, and whether right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import ArrayLike
from duda.inputs import hard_labels
from duda.predictions import ClassPrediction
from duda.predictions.given import labels_given
from duda.shown import Shown

__all__ = ["Objects", "objects"]


@dataclass(frozen=True, eq=False, repr=False)
class Objects(Shown):
    """The K objects of N pictures, one picture after the other.

    Args:
        picture: `(K)`, where it is.
        labels: `(K)`, its class.
        pixels: `(K)`, how many it has.
        confidence: `(K)`, mean probability of its class over its pixels.
        entropy: `(K)`, mean over its pixels, nats.
        epistemic: `(K)`, likewise.
        iou: `(K)`, how far it is one of the true objects; None without truth.
        numbers: `(N, *positions)`, the object of each pixel, -1 where there is none.
    """

    headline = ("count",)

    picture: Int[Tensor, "K"]
    labels: Int[Tensor, "K"]
    pixels: Int[Tensor, "K"]
    confidence: Float[Tensor, "K"]
    entropy: Float[Tensor, "K"]
    epistemic: Float[Tensor, "K"]
    iou: Float[Tensor, "K"] | None
    numbers: Int[Tensor, "N *positions"]

    @property
    def count(self) -> int:
        """K, how many there are."""
        return len(self.labels)


def objects(
    prediction: ClassPrediction,
    y: ArrayLike | None = None,
    *,
    background: int | Sequence[int] = (),
    ignore_index: int | None = None,
) -> Objects:
    """Return connected pixels of one predicted class, diagonal neighbors too, as objects.

    Pixels of an object are right or wrong together, so that objects, unlike pixels, can be counted.
    With `y`, each one's intersection over union is that with all true objects of its class that it
    touches, 0 if there are none: what lies in other objects of the same class does not count
    against it. Source: Rottmann et al. 2020, Prediction error meta classification, section 2.

    Args:
        prediction: of classes at `(N, *positions)`.
        y: labels of that shape.
        background: a class that has no objects, or several.
        ignore_index: the label of pixels that are no part of any object.

    Raises:
        ValueError: if there are no positions, or labels do not fit.

    >>> said = [[[0.1, 0.2, 0.9, 0.6]], [[0.9, 0.8, 0.1, 0.4]]]
    >>> found = objects(ClassPrediction.from_probs([said]), [[[1, 0, 0, 0]]])
    >>> found.labels, found.pixels, found.iou
    (tensor([0, 1]), tensor([2, 2]), tensor([0.6667, 0.5000], dtype=torch.float64))
    """
    shape = tuple(prediction.log_probs.shape)
    if len(shape) < 3:
        raise ValueError(
            f"`prediction` has probabilities of shape {shape}, expected (N, C, *positions): of "
            "each pixel of some pictures."
        )
    left_out = {background} if isinstance(background, int) else set(background)
    classes = [each for each in range(shape[1]) if each not in left_out]
    said = prediction.labels.cpu()
    truth = None
    if y is not None:
        truth = hard_labels(labels_given(prediction, y), shape, ignore_index)
        said = said.masked_fill(truth == ignore_index, -1) if ignore_index is not None else said
    numbers = torch.full_like(said, -1)
    found = list(_numbered(said, classes, numbers))
    picture, labels = torch.tensor(found, dtype=torch.int64).view(-1, 2).T
    overlaps = None if truth is None else _overlaps(numbers, labels, picture, truth)
    values = (prediction.confidence, prediction.entropy, prediction.epistemic)
    pixels, (sure, unsure, unknown) = _summed(numbers, values, len(labels))
    means = (sure / pixels, unsure / pixels, unknown / pixels)
    return Objects(picture, labels, pixels, *means, overlaps, numbers)


def _numbered(
    said: Int[Tensor, "N *positions"], classes: Sequence[int], numbers: Int[Tensor, "N *positions"]
) -> Iterator[tuple[int, int]]:
    """Yield picture and class of each object, once its pixels have its number."""
    count = 0
    for picture in range(len(said)):
        for label in classes:
            parts, several = _connected(said[picture] == label)
            inside = parts > 0
            numbers[picture][inside] = parts[inside] - 1 + count
            count += several
            yield from [(picture, label)] * several


def _connected(there: Tensor) -> tuple[Int[Tensor, "*positions"], int]:
    """Return the number of each pixel's part, from 1, and how many there are."""
    from scipy.ndimage import label

    parts, count = label(there.numpy(), structure=np.ones((3,) * there.ndim))
    return torch.from_numpy(parts).long(), count


def _summed(
    numbers: Int[Tensor, "N *positions"], values: Sequence[Tensor], count: int
) -> tuple[Int[Tensor, "K"], list[Float[Tensor, "K"]]]:
    inside = numbers >= 0
    which = numbers[inside]
    sums = [
        torch.zeros(count, dtype=torch.float64).index_add(0, which, each.cpu()[inside].double())
        for each in values
    ]
    return torch.bincount(which, minlength=count), sums


def _overlaps(
    numbers: Int[Tensor, "N *positions"],
    labels: Int[Tensor, "K"],
    picture: Int[Tensor, "K"],
    truth: Int[Tensor, "N *positions"],
) -> Float[Tensor, "K"]:
    """Return intersections over union with the true objects that are touched.

    Of these, what lies in other predicted objects of the class is no part of the union.
    """
    shared = torch.zeros(len(labels), dtype=torch.float64)
    union = shared.clone()
    for label, place in torch.unique(torch.stack([labels, picture], 1), dim=0).tolist():
        parts, count = _connected(truth[place] == label)
        ours = torch.cat([labels, labels.new_full((1,), -1)])[numbers[place]] == label
        mine, true = numbers[place][ours], parts[ours]
        alone = torch.bincount(parts[~ours], minlength=count + 1)  # of each, outside of all ours
        alone[0] = 0
        pairs = torch.unique(torch.stack([mine, true], 1), dim=0)
        union.index_add_(0, pairs[:, 0], alone[pairs[:, 1]].double())
        union.index_add_(0, mine, torch.ones(len(mine), dtype=torch.float64))
        shared.index_add_(0, mine, (true > 0).double())
    return shared / union
