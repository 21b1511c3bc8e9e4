"""Boxes as corners, and their intersection over union (IoU)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_finite
from duda.devices import on_exact_device

__all__ = ["checked_boxes", "iou"]


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
