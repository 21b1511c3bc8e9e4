"""Intersection over union (IoU) of boxes."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike
from duda.predictions.boxes import checked_boxes

__all__ = ["iou"]


def iou(a: ArrayLike, b: ArrayLike) -> Float[Tensor, "K L"]:
    """Return the intersection over union of each of K with each of L boxes.

    Of boxes without an area it is 1 where they are the same, else 0.

    Raises:
        ValueError: if they are no boxes.

    >>> iou([[0, 0, 2, 2]], [[1, 0, 3, 2], [0, 0, 2, 2]])
    tensor([[0.3333, 1.0000]], dtype=torch.float64)
    """
    one, other = checked_boxes(a, "a"), checked_boxes(b, "b")
    other = other.to(one.device)
    high = torch.minimum(one[:, None, 2:], other[:, 2:])
    shared = (high - torch.maximum(one[:, None, :2], other[:, :2])).clamp(min=0).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (one, other)]
    union = areas[0][:, None] + areas[1] - shared
    same = (one[:, None] == other).all(2).double()
    return torch.where(union > 0, shared / union, same)
