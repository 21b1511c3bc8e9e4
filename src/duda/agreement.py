"""Agreement of outputs: whether they are the same, but for the rounding of other kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from duda.transfer import read_once

__all__ = ["agree"]


def agree(one: Tensor, *others: Tensor) -> list[bool]:
    """Return which of the others are the first, up to half of its digits, by a single wait.

    >>> agree(torch.ones(2), torch.ones(2) + 1e-6, torch.zeros(2))
    [True, False]
    """
    largest = torch.stack([each.nan_to_num(0, 0, 0).abs().max() for each in (one, *others)]).max()
    tolerance = torch.finfo(one.dtype).eps ** 0.5 * largest
    near = [(each - one).abs() <= tolerance for each in others]
    same = [(each == one) | (each.isnan() & one.isnan()) for each in others]  # infinite ones, too
    apart = [~(a | b).all() for a, b in zip(near, same, strict=True)]
    return [not each for each in read_once(apart)]
