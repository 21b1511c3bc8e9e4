"""Calibration of detections, by confidence and by place (D-ECE)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from duda.boxes.matching import matched
from duda.boxes.truths import Size, Truths, pictures, sizes_of
from duda.checks import check_count, check_share, nearest
from duda.evaluation import Reliability, reliability_of
from duda.evaluation.bins import Bins
from duda.predictions.boxes import BoxPrediction
from duda.shown import Shown

__all__ = ["DetectionCalibration", "detection_calibration"]

Place = Literal["x", "y", "width", "height"]
_PLACES: tuple[Place, ...] = get_args(Place)


@dataclass(frozen=True, eq=False, repr=False)
class DetectionCalibration(Shown):
    """How sure each of K detections is, whether it is right, and where it is.

    Args:
        confidence: `(K)`, the probability of its label.
        right: `(K)`, whether it is one of the true boxes of that label.
        place: `(K, 4)`, x and y of its middle, width and height, each as a share of the picture's.
    """

    headline = ("precision",)

    confidence: Float[Tensor, "K"]
    right: Bool[Tensor, "K"]
    place: Float[Tensor, "K 4"]

    @property
    def precision(self) -> float:
        """Share that is right; NaN where there are no detections."""
        return float(self.right.double().mean())

    def reliability(self, bins: int = 15) -> Reliability:
        """Return what there is to say by confidence alone: figures, their chance, a diagram.

        Raises:
            ValueError: if there are no detections.
        """
        return reliability_of(self.confidence, self.right, bins=bins)

    def d_ece(self, by: Sequence[Place] = _PLACES, bins: int = 5, fewest: int = 8) -> float:
        """Return the mean gap of precision and confidence in bins of confidence and place.

        Bins with fewer than `fewest` detections have no part in it; NaN if all are such.
        Source: Kueppers et al. 2020, Multivariate confidence calibration for object detection;
        weights of the bins that are left add up to 1.

        Args:
            by: what bins are by, beside the confidence; nothing for the plain ECE of detections.
            bins: how many of each, of equal width.
            fewest: detections that a bin needs.
        """
        for name in by:
            if name not in _PLACES:
                raise ValueError(nearest(name, _PLACES, "`by`"))
        least = check_count(fewest, "fewest")
        columns = [self.place[:, _PLACES.index(name)] for name in by]
        scale = Bins.of_equal_width(bins)
        index = torch.stack([scale.index(each) for each in (self.confidence, *columns)], 1)
        _, cell, counts = torch.unique(index, dim=0, return_inverse=True, return_counts=True)
        surplus = torch.zeros(len(counts), dtype=torch.float64)
        surplus.index_add_(0, cell, self.right.double() - self.confidence)
        kept = counts >= least
        return float(surplus[kept].abs().sum() / counts[kept].sum())


def detection_calibration(
    predictions: Sequence[BoxPrediction],
    truths: Truths,
    size: Size | Sequence[Size],
    *,
    iou: float = 0.5,
) -> DetectionCalibration:
    """Return whether detections are right as often as they are sure, wherever they are.

    A detection is right if it overlaps a true box of its label by `iou` that no surer one took.

    Args:
        predictions: one for each picture.
        truths: boxes `(L, 4)` and labels `(L)` of each picture.
        size: height and width, in the unit of boxes, of all pictures or of each.
        iou: the least overlap.

    Raises:
        ValueError: if pictures do not fit.

    >>> said = BoxPrediction([[2, 2, 6, 6], [0, 0, 1, 1]], [[0.8], [0.6]])
    >>> found = detection_calibration([said], [([[2, 2, 6, 6]], [0])], (8, 8))
    >>> found.right, round(found.d_ece(by=(), fewest=1), 6)
    (tensor([ True, False]), 0.4)
    """
    least = check_share(iou, "iou")
    shown = pictures(predictions, truths)
    places = []
    for each, (height, width) in zip(shown, sizes_of(size, len(shown)), strict=True):
        low, high = each.said.boxes[:, :2], each.said.boxes[:, 2:]
        whole = torch.tensor([width, height], dtype=torch.float64)
        places.append(torch.cat([(low + high) / 2 / whole, (high - low) / whole], 1).clamp(0, 1))
    right = torch.cat([matched(each, least) >= 0 for each in shown])
    confidence = torch.cat([each.said.confidence for each in shown])
    return DetectionCalibration(confidence, right, torch.cat(places))
