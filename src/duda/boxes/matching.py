"""Matches of detections and true boxes: the surest first, each true box at most once."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.boxes.geometry import iou as overlaps_of
from duda.boxes.truths import Picture

__all__ = ["Rule", "matched", "matches_of"]

Rule = Literal["coco", "voc", "voc-2007"]


def matches_of(
    near: Float[Tensor, "K L"], sure: Float[Tensor, "K"], least: float, rule: Rule = "coco"
) -> Int[Tensor, "K"]:
    """Return which true box each detection is, -1 where it is none.

    Args:
        near: overlaps.
        sure: in which order detections choose.
        least: the overlap that it takes.
        rule: as in `average_precision`.
    """
    found = torch.full((len(near),), -1)
    taken = torch.zeros(near.shape[1], dtype=torch.bool)
    for row in sure.argsort(descending=True, stable=True).tolist() if len(taken) else ():
        overlap = near[row].masked_fill(taken, -1.0) if rule == "coco" else near[row]
        best = int(overlap.argmax())
        enough = overlap[best] >= least if rule == "coco" else overlap[best] > least
        if enough and not taken[best]:
            found[row] = best
        taken[best] |= enough
    return found


def matched(picture: Picture, least: float, by_class: bool = True) -> Int[Tensor, "K"]:
    """Return the same for all detections of a picture, of which classes agree if `by_class`."""
    said = picture.said
    near = overlaps_of(said.boxes, picture.boxes)
    if by_class:
        near = near.where(said.labels[:, None] == picture.labels, -1.0)
    return matches_of(near, said.confidence, least)
