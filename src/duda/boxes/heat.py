"""Heat maps of boxes: the probability that each pixel is inside, if corners are normal."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from duda.predictions.boxes import BoxPrediction

__all__ = ["heat", "inside"]

_LEAST = 0.0027  # probabilities below count as 0: three standard deviations
_NODES = 32
_FAR = 8.0  # standard deviations from which on a normal cdf is 0 or 1


def inside(ends: Float[Tensor, "L 2"], length: int) -> Float[Tensor, "L length"]:
    """Return 1 for rows or columns of pixels with their centers between two ends, else 0."""
    centers = torch.arange(length, dtype=torch.float64) + 0.5
    return ((ends[:, :1] <= centers) & (centers < ends[:, 1:])).double()


def heat(said: BoxPrediction, height: int, width: int) -> Float[Tensor, "H W"]:
    """Return the probability that each pixel's center is in a box, `said` by itself.

    Its upper left corner and its lower right one are independent of one another, each with two
    normal coordinates that need not be. Source: Hall et al. 2020, section 3.2.
    """
    y, x = (torch.arange(n, dtype=torch.float64) + 0.5 for n in (height, width))
    (box,), (covariance,) = said.boxes, said.covariance
    after = _corner(x, y, box[:2], covariance[:2, :2])
    before = _corner(-x, -y, -box[2:], covariance[2:, 2:])
    found = (after * before).clamp(0, 1)
    return found.where(found >= _LEAST, 0.0)


def _corner(
    x: Float[Tensor, "W"],
    y: Float[Tensor, "H"],
    mean: Float[Tensor, "2"],
    covariance: Float[Tensor, "2 2"],
) -> Float[Tensor, "H W"]:
    """Return the probability that a corner is at most (x, y)."""
    std = covariance.diagonal().sqrt()
    right, below = (_scaled(each, mean[i], std[i]) for i, each in enumerate((x, y)))
    found = torch.outer(torch.special.ndtr(below), torch.special.ndtr(right))
    shared = float(covariance[0, 1] / std.prod()) if bool((std > 0).all()) else 0.0
    if abs(shared) < 1e-9:
        return found
    rows, columns = (each.abs().lt(_FAR).nonzero().flatten() for each in (below, right))
    if len(rows) and len(columns):
        part = _dependence(right[columns], below[rows, None], max(-1.0, min(1.0, shared)))
        found[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += part
    return found


def _scaled(values: Float[Tensor, "L"], mean: Tensor, std: Tensor) -> Float[Tensor, "L"]:
    apart = values - mean
    return apart / std if bool(std > 0) else torch.where(apart >= 0, 1.0, -1.0).double() * math.inf


def _dependence(
    x: Float[Tensor, "W"], y: Float[Tensor, "H 1"], shared: float
) -> Float[Tensor, "H W"]:
    """Return what a correlation adds to the product of two normal cdfs.

    Source: Drezner & Wesolowsky 1990, the integral over the angle of the correlation.
    """
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    half = math.asin(shared) / 2
    added = torch.zeros(len(y), len(x), dtype=torch.float64)
    for node, weight in zip(nodes, weights, strict=True):
        sine = math.sin(half * (node + 1))
        apart = x.square() + y.square() - 2 * sine * x * y
        added += half * weight / (2 * math.pi) * (-apart / (2 * (1 - sine**2))).exp()
    return added
