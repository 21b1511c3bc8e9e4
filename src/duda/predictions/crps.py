"""CRPS of predictions: of mixtures by mean distances or the integral, of any by its quantiles.

The CRPS is E|X − y| − ½ E|X − X'|, with X and X' independent draws of the prediction.
Source: Gneiting & Raftery 2007, eq. 21; Grimit et al. 2006 for mixtures.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "AT_ONCE",
    "GAUSSIAN",
    "KNOTS",
    "LAPLACIAN",
    "LEVELS",
    "Distances",
    "Law",
    "integrated_crps",
    "mixture_crps",
    "numerical_crps",
]

_NODES = 400  # levels
# Of members, between whose quantiles the integral is taken: beyond 1e-9 its square leaves nothing.
LEVELS = [1 / (1 + math.exp(-t)) for t in np.linspace(-20.7, 20.7, 24).tolist()]
KNOTS = 96  # at most, of a mixture
_IN_BETWEEN = 4  # nodes, of Gauss and Legendre
_PAIRS = 2**16  # numbers, which fit into the caches of a processor
AT_ONCE = 2**21  # numbers, so that memory grows neither with examples nor with members


class Distances(NamedTuple):
    """The mean distances of a location-scale family."""

    to_point: Callable[[Tensor, Tensor], Tensor]  # E|X - y|, from y - mean and X's std
    to_other: Callable[[Tensor, Tensor, Tensor], Tensor]  # E|X - X'|, from both means' gap and stds
    to_itself: float  # E|X - X'| of two alike, for a std of 1


class Law(NamedTuple):
    """What a member with these parameters has; all broadcast, in float64."""

    cdf: Callable[..., Tensor]  # of y and the parameters
    quantile: Callable[..., Tensor]  # of levels and the parameters


def mixture_crps(
    means: Float[Tensor, "M *shape"],
    stds: Float[Tensor, "M *shape"],
    y: Float[Tensor, "*shape"],
    family: Distances,
    weights: Float[Tensor, "M *shape"] | None = None,
) -> Float[Tensor, "*shape"]:
    """Return the mean of the members' CRPS, less what they gain by being different.

    Members weigh the same, unless there are `weights`, which add up to 1.

    >>> member = torch.zeros(1, 1)
    >>> mixture_crps(member, member + 1, torch.zeros(1), GAUSSIAN)
    tensor([0.2337])
    """
    count, total = len(means), torch.zeros_like(y)
    shares = means.new_full((), 1 / count).expand_as(means) if weights is None else weights
    rows = max(1, _PAIRS // max(1, y.numel()))
    for first, (share, mean, std) in enumerate(zip(shares, means, stds, strict=True)):
        total += share * (family.to_point(y - mean, std) - family.to_itself / 2 * share * std)
        for start in range(0, first, rows):
            some = slice(start, min(first, start + rows))
            apart = family.to_other(means[some] - mean, std, stds[some])
            total -= share * (shares[some] * apart).sum(0)
    return total


def integrated_crps(
    law: Law,
    members: tuple[Float[Tensor, "M *shape"], ...],
    y: Float[Tensor, "*shape"],
) -> Float[Tensor, "*shape"]:
    """Return the integral of (F(x) - [x >= y])², F the mixture's distribution function.

    It is taken between `y` and quantiles of the members, of which a mixture of many needs but some:
    400 values of F in all. Source: Gneiting & Raftery 2007, eq. 20.

    Args:
        law: of the members.
        members: their parameters.
        y: targets.

    >>> uniform = Law(lambda y, low: (y - low).clamp(0, 1), lambda q, low: low + q)
    >>> integrated_crps(uniform, (torch.zeros(1, 1).double(),), torch.zeros(1).double())
    tensor([0.3333], dtype=torch.float64)
    """
    values = [y.flatten(), *(each.flatten(1).movedim(1, 0) for each in members)]
    size = max(1, AT_ONCE // (len(LEVELS) * len(members[0]) + _IN_BETWEEN * KNOTS))
    parts = []
    for some, *rest in zip(*(torch.split(each, size) for each in values), strict=True):
        parts.append(_integral(law, [part.movedim(0, 1) for part in rest], some))
    return torch.cat(parts).view_as(y)


def _integral(law: Law, members: list[Tensor], y: Tensor) -> Tensor:
    """Return the integral for `(n)` targets, members `(M, n)`."""
    levels = y.new_tensor(LEVELS).view(-1, 1, 1)
    knots = law.quantile(levels, *members).flatten(0, 1).sort(0).values
    if len(knots) > KNOTS:
        knots = knots[torch.linspace(0, len(knots) - 1, KNOTS, device=y.device).round().long()]
    points = torch.cat([knots, y[None]]).sort(0).values
    low, width = points[:-1], points.diff(dim=0)
    nodes, weights = np.polynomial.legendre.leggauss(_IN_BETWEEN)
    total = torch.zeros_like(y)
    for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True):
        places = low + (node + 1) / 2 * width
        size = max(1, AT_ONCE // members[0].numel())
        below = torch.cat(
            [law.cdf(some.unsqueeze(1), *members).mean(1) for some in torch.split(places, size)]
        )
        total += weight / 2 * ((below - (low >= y).to(y)).square() * width).sum(0)
    return torch.where(y.isinf(), torch.inf, total)


def numerical_crps(
    quantile: Callable[[float], Float[Tensor, "*shape"]], y: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """Return the CRPS by 400 quantiles, which are denser in the tails, in float64.

    It is the integral over levels of twice their pinball loss. Source: Laio & Tamea 2007.

    >>> of_uniform = numerical_crps(lambda q: torch.tensor([q]), torch.tensor([0.5]))
    >>> round(float(of_uniform), 5)
    0.08333
    """
    y = y.double()
    total = torch.zeros_like(y)
    for node in range(_NODES):
        angle = math.pi * (node + 0.5) / _NODES
        level, weight = (1 - math.cos(angle)) / 2, math.pi / 2 * math.sin(angle) / _NODES
        above = y - quantile(level).double()
        total += 2 * weight * torch.maximum(level * above, (level - 1) * above)
    return total


def _gaussian_to_point(gap: Tensor, std: Tensor) -> Tensor:
    z = gap / std
    density = z.square().mul_(-0.5).exp_().mul_(std)
    smooth = z.mul_(math.sqrt(0.5)).erf_().mul_(gap).add_(density, alpha=math.sqrt(2 / math.pi))
    return torch.where(std > 0, smooth, gap.abs())


def _gaussian_to_other(gap: Tensor, std: Tensor, other: Tensor) -> Tensor:
    return _gaussian_to_point(gap, torch.hypot(std, other))


def _laplacian_to_point(gap: Tensor, std: Tensor) -> Tensor:
    scale, far = std / math.sqrt(2), gap.abs()
    return torch.where(scale > 0, far + scale * (-far / scale).exp(), far)


def _laplacian_to_other(gap: Tensor, std: Tensor, other: Tensor) -> Tensor:
    """Return |d| + (a³ exp(−|d|/a) − b³ exp(−|d|/b)) / (a² − b²) for scales a and b, d the gap.

    The difference of two Laplace variables has a density that mixes those of both scales, with
    the weights a² / (a² − b²) and −b² / (a² − b²). Here without what cancels for a near b.
    """
    far = gap.abs()
    small = torch.minimum(std, other) / math.sqrt(2)
    large = torch.maximum(std, other) / math.sqrt(2)
    both, apart = small + large, large - small
    near_small = torch.where(far > 0, -far / small, 0.0).exp()
    near_large = torch.where(far > 0, -far / large, 0.0).exp()
    shared = (large * large + small * large + small * small) / both * near_small
    lost = -torch.special.expm1(-far * apart / (small * large)) / apart
    lost = torch.where(apart > 0, lost, far / (small * large))
    rest = large**3 / both * near_large * torch.where(far > 0, lost, 0.0)
    return torch.where(large > 0, far + shared + rest, far)


GAUSSIAN = Distances(_gaussian_to_point, _gaussian_to_other, 2 / math.sqrt(math.pi))
LAPLACIAN = Distances(_laplacian_to_point, _laplacian_to_other, 1.5 / math.sqrt(2))
