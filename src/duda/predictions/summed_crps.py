"""CRPS of mixtures of counts: a sum over all counts, by few values of distribution functions."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from duda.predictions.crps import AT_ONCE, KNOTS, LEVELS, Law

__all__ = ["summed_crps"]

_NODES = 4


def summed_crps(
    law: Law,
    members: tuple[Float[Tensor, "M *shape"], ...],
    y: Float[Tensor, "*shape"],
) -> Float[Tensor, "*shape"]:
    """Return the integral of (F(x) - [x >= y])², F the mixture's distribution function.

    It is a sum over counts, taken between `y`, about the members' quantiles, and the powers of two.
    Up to four counts between two of these are summed, of more the sum is that of polynomials of
    degree 7. Source: Gneiting & Raftery 2007, eq. 20.

    Args:
        law: of the members, its `cdf` smooth between counts, its `quantile` about right.
        members: their parameters.
        y: targets.

    >>> from duda.predictions.poisson import PoissonPrediction
    >>> PoissonPrediction.of(rate=[[1.0]]).crps([[2.0]])
    tensor([[0.6835]], dtype=torch.float64)
    """
    values = [y.flatten(), *(each.flatten(1).movedim(1, 0) for each in members)]
    size = max(1, AT_ONCE // (len(LEVELS) * len(members[0]) + _NODES * KNOTS))
    parts = []
    for some, *rest in zip(*(torch.split(each, size) for each in values), strict=True):
        parts.append(_sum(law, [part.movedim(0, 1) for part in rest], some))
    return torch.cat(parts).view_as(y)


def _sum(law: Law, members: list[Tensor], y: Tensor) -> Tensor:
    """Return the sum for `(n)` targets, members `(M, n)`."""
    inside = y.clamp(min=0)
    count = inside.floor()
    part = inside - count  # that a target which is no count has of its cell
    knots = torch.cat([_knots(law, members), torch.stack([count, count + 1])]).sort(0).values
    total = torch.zeros_like(y)
    for places, weights in zip(*_nodes(knots[:-1], knots.diff(dim=0)), strict=True):
        size = max(1, AT_ONCE // members[0].numel())
        below = torch.cat(
            [law.cdf(some.unsqueeze(1), *members).mean(1) for some in torch.split(places, size)]
        )
        left, right = below.square(), (1 - below).square()
        at = torch.lerp(right, left, part)
        start = knots[:-1]
        term = torch.where(start < count, left, torch.where(start > count, right, at))
        total += (weights * term).sum(0)
    return torch.where(y.isinf(), torch.inf, total + inside - y)


def _knots(law: Law, members: list[Tensor]) -> Tensor:
    """Return counts from 0 to where nothing is left of the members, those in between as needed."""
    levels = members[0].new_tensor(LEVELS).view(-1, 1, 1)
    knots = law.quantile(levels, *members).flatten(0, 1).ceil().sort(0).values
    if len(knots) > KNOTS:
        knots = knots[torch.linspace(0, len(knots) - 1, KNOTS, device=knots.device).round().long()]
    most = knots[-1]
    steps = int(most.max().clamp(min=1).log2().ceil()) if most.numel() else 0
    powers = 2.0 ** torch.arange(steps, device=most.device, dtype=most.dtype)
    low = torch.cat([powers.new_zeros(1), powers])[:, None]
    return torch.cat([torch.minimum(low, most), knots])


def _nodes(start: Tensor, count: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return places among `count` counts from `start`, and weights: their sum is that over all.

    Up to four they are the counts themselves, else Gauss's, for a weight of one on each count.
    Source: Gautschi 2004, "Orthogonal polynomials", section 1.5.1, on discrete Chebyshev ones.
    """
    few, most = count <= _NODES, count.clamp(min=_NODES)
    b1, b2, b3 = (
        (k * k * (most.square() - k * k)) / (4 * (4 * k * k - 1)) for k in range(1, _NODES)
    )
    half, root = (b1 + b2 + b3) / 2, ((b1 + b2 + b3).square() / 4 - b1 * b3).sqrt()
    far, near = half + root, half - root  # squares of the distances from the middle
    outer = most * (b1 - near) / (2 * (far - near))
    inner = most / 2 - outer
    steps = (-far.sqrt(), -near.sqrt(), near.sqrt(), far.sqrt())
    middle = (most - 1) / 2
    places = [start + torch.where(few, number, middle + step) for number, step in enumerate(steps)]
    weights = [
        torch.where(few, (number < count).to(count), weight)
        for number, weight in enumerate((outer, inner, inner, outer))
    ]
    return places, weights
