"""Probability-based detection quality (PDQ): what, where and how surely, in one score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from duda.boxes.heat import heat, inside
from duda.boxes.truths import Picture, Size, Truths, pictures, sizes_of
from duda.predictions.boxes import BoxPrediction
from duda.shown import Shown

__all__ = ["DetectionQuality", "detection_quality"]

_SMALL = 1e-14  # in place of probabilities of 0, as in the authors' code; with what follows
_NOTHING = 1e-8  # spatial qualities below count as none


@dataclass(frozen=True, eq=False, repr=False)
class DetectionQuality(Shown):
    """Qualities of the P pairs of a detection and the true box that it is taken for.

    Args:
        label: `(P)`, the probability of the true class.
        foreground: `(P)`, whether pixels of the true box are surely in the detection.
        background: `(P)`, whether others surely are not.
        false: how many detections are in no pair.
        missed: how many true boxes are in none.
    """

    headline = ("pdq",)

    label: Float[Tensor, "P"]
    foreground: Float[Tensor, "P"]
    background: Float[Tensor, "P"]
    false: int
    missed: int

    @property
    def spatial(self) -> Float[Tensor, "P"]:
        """Whether a detection is where the true box is, and as surely as that is right."""
        return self.foreground * self.background

    @property
    def pairwise(self) -> Float[Tensor, "P"]:
        """Geometric means of the spatial and the label quality."""
        return (self.spatial * self.label).sqrt()

    @property
    def pdq(self) -> float:
        """Mean over pairs, false detections and missed boxes, of which both count as 0.

        NaN where there is nothing.
        """
        total = len(self.label) + self.false + self.missed
        return float(self.pairwise.sum()) / total if total else math.nan


def detection_quality(
    predictions: Sequence[BoxPrediction], truths: Truths, size: Size | Sequence[Size]
) -> DetectionQuality:
    """Return the probability-based detection quality (PDQ), of pixels and labels.

    A pixel is in a detection if its center is between two corners, which are independent normal
    ones. Pairs are chosen in each picture so that their qualities add up to the most. Every
    detection counts, whatever its confidence: give those that you would act on.
    Source: Hall et al. 2020, Probabilistic Object Detection; probabilities of less than 0.0027
    count as 0, and logarithms end at 1e-14, as in the authors' code.

    Args:
        predictions: one for each picture.
        truths: boxes `(L, 4)` in pixels and labels `(L)` of each picture.
        size: height and width in pixels, of all pictures or of each.

    Raises:
        ValueError: if pictures do not fit, or a true box has no pixel in its picture.

    >>> said = BoxPrediction([[2, 2, 6, 6]], [[0.81]])
    >>> round(detection_quality([said], [([[2, 2, 6, 6]], [0])], (8, 8)).pdq, 6)
    0.9
    """
    shown = pictures(predictions, truths)
    sizes = sizes_of(size, len(shown))
    parts = [_pairs(each, *sizes[i], i) for i, each in enumerate(shown)]
    label, foreground, background = torch.cat(parts).unbind(1)
    said, true = sum(len(each.said) for each in shown), sum(len(each.boxes) for each in shown)
    false, missed = said - len(label), true - len(label)
    return DetectionQuality(label, foreground, background, false, missed)


def _pairs(picture: Picture, height: int, width: int, place: int) -> Float[Tensor, "P 3"]:
    """Return label, foreground and background quality of the pairs of a picture."""
    from scipy.optimize import linear_sum_assignment

    said, boxes, labels = picture
    if not len(said) or not len(boxes):
        return torch.zeros(0, 3, dtype=torch.float64)
    rows, columns = inside(boxes[:, [1, 3]], height), inside(boxes[:, [0, 2]], width)
    pixels = rows.sum(1) * columns.sum(1)
    if bool((pixels == 0).any()):
        raise ValueError(
            f"`truths[{place}]` has a box {boxes[pixels == 0][0].tolist()} without a pixel in its "
            f"picture of {height} x {width}, expected left, top, right and bottom in pixels, from "
            "0: leave it out."
        )
    seen = torch.stack(
        [_seen(heat(said[i], height, width), rows, columns) / pixels for i in range(len(said))]
    ).exp()
    spatial = seen.prod(1)
    label = said.probs[:, labels]
    quality = (spatial * label).sqrt().where(spatial >= _NOTHING, 0.0)
    one, other = (torch.from_numpy(each) for each in linear_sum_assignment(-quality.numpy()))
    kept = quality[one, other] > 0
    one, other = one[kept], other[kept]
    return torch.stack([label[one, other], seen[one, 0, other], seen[one, 1, other]], 1)


def _seen(
    heat: Float[Tensor, "H W"], rows: Float[Tensor, "L H"], columns: Float[Tensor, "L W"]
) -> Float[Tensor, "2 L"]:
    """Return sums of log-probabilities over pixels in each of L boxes, and over those outside."""
    there, not_there = (each.clamp(min=_SMALL).log() for each in (heat, 1 - heat))
    # No difference of sums, in which what is next to nothing would drown.
    beside = torch.einsum("lh,hw,lw->l", rows, not_there, 1 - columns)
    above_or_below = torch.einsum("lh,hw->l", 1 - rows, not_there)
    within = torch.einsum("lh,hw,lw->l", rows, there, columns)
    return torch.stack([within, beside + above_or_below])
