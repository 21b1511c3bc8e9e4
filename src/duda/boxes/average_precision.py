"""Average precision of detections (AP, mAP), by the rules of COCO and of Pascal VOC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from duda.boxes.geometry import iou as overlaps_of
from duda.boxes.matching import Rule, matches_of
from duda.boxes.truths import Picture, Truths, pictures
from duda.checks import ArrayLike, nearest
from duda.inputs import numbers
from duda.predictions.boxes import BoxPrediction
from duda.shown import Shown

__all__ = ["COCO", "AveragePrecision", "average_precision"]

COCO = tuple(percent / 100 for percent in range(50, 100, 5))


@dataclass(frozen=True, eq=False, repr=False)
class AveragePrecision(Shown):
    """Area under the curve of precision over recall, by class and least overlap.

    Args:
        by_class: `(T, C)`, at each of T overlaps; NaN where there is no true box of a class.
        iou: `(T)`, the least overlap with a true box.
    """

    headline = ("mean",)

    by_class: Float[Tensor, "T C"]
    iou: Float[Tensor, "T"]

    @property
    def mean(self) -> float:
        """Over classes of which there are boxes, and over overlaps; NaN without any."""
        return float(self.by_class.nanmean())


def average_precision(
    predictions: Sequence[BoxPrediction],
    truths: Truths,
    iou: ArrayLike = COCO,
    rule: Rule = "coco",
) -> AveragePrecision:
    """Return the average precision of detections, each with its likeliest class and confidence.

    Args:
        predictions: one for each picture.
        truths: boxes `(L, 4)` and labels `(L)` of each picture.
        iou: the least overlap, or several; by default 0.5, 0.55, ... 0.95.
        rule: `"coco"`, 101 points, a detection takes the free true box that it overlaps most;
            `"voc"`, the whole area, and `"voc-2007"`, 11 points: it takes the box that it overlaps
            most, by more than `iou`, and is wrong if that one is taken.

    Raises:
        ValueError: if pictures do not fit, or the rule is unknown.

    Source: Lin et al. 2014, COCO; Everingham et al. 2010, section 4.2.

    >>> said = BoxPrediction([[0, 0, 4, 4], [9, 9, 12, 12]], [[0.9], [0.6]])
    >>> average_precision([said], [([[0, 0, 4, 4]], [0])], iou=0.5).mean
    1.0
    """
    if rule not in get_args(Rule):
        raise ValueError(nearest(str(rule), get_args(Rule), "rule"))
    shown = pictures(predictions, truths)
    least = numbers(iou, "iou").reshape(-1)
    classes = range(shown[0].said.probs.shape[1])
    rows = [[_of_class(shown, label, float(each), rule) for label in classes] for each in least]
    return AveragePrecision(torch.tensor(rows, dtype=torch.float64), least)


def _of_class(shown: Sequence[Picture], label: int, least: float, rule: Rule) -> float:
    total = sum(int((each.labels == label).sum()) for each in shown)
    if not total:
        return float("nan")
    parts = [_hits_of_class(each, label, least, rule) for each in shown]
    sure, hits = (torch.cat([part[i] for part in parts]) for i in (0, 1))
    hits = hits[sure.argsort(descending=True, stable=True)].double()
    right = hits.cumsum(0)
    precision = right / torch.arange(1, len(hits) + 1)
    highest = precision.flip(0).cummax(0).values.flip(0) if len(hits) else precision
    recall = right / total
    if rule == "voc":
        return float((highest * hits).sum() / total)
    points = torch.linspace(0, 1, 101 if rule == "coco" else 11, dtype=torch.float64)
    place = torch.searchsorted(recall, points - 1e-12)
    return float(torch.cat([highest, torch.zeros(1).double()])[place].mean())


def _hits_of_class(
    picture: Picture, label: int, least: float, rule: Rule
) -> tuple[Float[Tensor, "K"], Bool[Tensor, "K"]]:
    """Return the confidence of detections of a class, and which of them are right."""
    said = picture.said[picture.said.labels == label]
    near = overlaps_of(said.boxes, picture.boxes[picture.labels == label])
    return said.confidence, matches_of(near, said.confidence, least, rule) >= 0
