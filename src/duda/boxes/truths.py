"""What is true of pictures, beside what was predicted: checked pairs for the metrics of boxes."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_count, check_same_shape
from duda.predictions.boxes import BoxPrediction, checked_boxes

__all__ = ["Picture", "Size", "Truths", "pictures", "sizes_of"]

Truths = Sequence[tuple[ArrayLike, ArrayLike]]
Size = tuple[int, int]


class Picture(NamedTuple):
    """One picture: what is said of it, and its true boxes `(L, 4)` with labels `(L)`."""

    said: BoxPrediction
    boxes: Float[Tensor, "L 4"]
    labels: Int[Tensor, "L"]


def pictures(predictions: Sequence[BoxPrediction], truths: Truths) -> list[Picture]:
    """Return pictures, on the CPU.

    Raises:
        TypeError: if predictions are no list of `BoxPrediction`.
        ValueError: if there are none, not as many truths, or labels are no classes.
    """
    wrong = isinstance(predictions, BoxPrediction)
    if wrong or not all(isinstance(each, BoxPrediction) for each in predictions):
        raise TypeError("`predictions` is no list, expected a `BoxPrediction` for each picture.")
    if not len(predictions) or len(predictions) != len(truths):
        raise ValueError(
            f"`predictions` are of {len(predictions)} pictures and `truths` of {len(truths)}, "
            "expected as many, and at least one."
        )
    return [
        _picture(*pair, place) for place, pair in enumerate(zip(predictions, truths, strict=True))
    ]


def _picture(said: BoxPrediction, truth: tuple[ArrayLike, ArrayLike], place: int) -> Picture:
    if not isinstance(truth, tuple | list) or len(truth) != 2:
        raise TypeError(f"`truths[{place}]` is {truth!r}, expected a pair of boxes and labels.")
    boxes = checked_boxes(truth[0], f"truths[{place}]").cpu()
    labels = as_tensor(truth[1], f"truths[{place}] labels").cpu()
    check_same_shape(labels, f"truths[{place}] labels", (len(boxes),), "their boxes")
    classes = said.probs.shape[1]
    if len(labels) and (int(labels.min()) < 0 or int(labels.max()) >= classes):
        raise ValueError(
            f"`truths[{place}]` has labels {int(labels.min())} to {int(labels.max())}, expected 0 "
            f"to {classes - 1}: the background has no label."
        )
    return Picture(said.to("cpu"), boxes, labels.long())


def sizes_of(size: Size | Sequence[Size], pictures: int) -> list[Size]:
    """Return height and width of each picture, from those of all or of each.

    Raises:
        ValueError: if there are not as many, or one is no such pair.
    """
    one = len(size) == 2 and all(isinstance(each, int) for each in size)
    given: list[Any] = [size] * pictures if one else list(size)
    if len(given) != pictures or any(len(each) != 2 for each in given):
        raise ValueError(
            f"`size` is {reprlib.repr(size)}, expected the height and the width of all {pictures} "
            "pictures, or of each."
        )
    return [(check_count(high, "size"), check_count(wide, "size")) for high, wide in given]
