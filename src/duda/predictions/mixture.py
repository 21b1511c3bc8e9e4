"""Mixtures: quantiles of several distributions together, each of them as likely as the others."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from duda.transfer import sent

__all__ = ["ROUNDING", "crossing", "mixture_of_normals", "mixture_quantile", "quantile_at"]

ROUNDING = 1e-6  # as levels may come in float32, or as (1 - 0.9) / 2
_STEPS = 24  # by interpolation; then by halves, of which
_BISECTIONS = 60  # bring any bracket of float64 numbers to its last digits
_DIGITS = 2.0**-52


def crossing(
    cdf: Callable[[Tensor], Tensor], q: float, ends: Float[Tensor, "M *shape"]
) -> Float[Tensor, "*shape"]:
    """Return where `cdf` reaches `q`, to the last digits, between the extremes of `ends`.

    A mixture's quantile lies between those of its components. By inverse quadratic interpolation
    where it is sure to help, else by halves. Source: Chandrupatla 1997.

    >>> crossing(lambda y: y**2, 0.25, torch.tensor([[0.0], [1.0]], dtype=torch.float64))
    tensor([0.5000], dtype=torch.float64)
    """
    old, new = ends.amin(0), ends.amax(0)
    width = new - old
    tiny = torch.finfo(torch.float64).tiny  # by rounding an end may be on the wrong side
    old_gap, new_gap = (cdf(old) - q).clamp(max=-tiny), (cdf(new) - q).clamp(min=tiny)
    half = torch.full_like(new, 0.5)
    step = half
    for count in range(_STEPS + _BISECTIONS):
        value = new + step * (old - new)
        gap = cdf(value) - q
        same = (gap < 0) == (new_gap < 0)
        third, third_gap = torch.where(same, new, old), torch.where(same, new_gap, old_gap)
        old, old_gap = torch.where(same, old, new), torch.where(same, old_gap, new_gap)
        new, new_gap = value, gap
        narrow = _DIGITS * (new.abs() + width) / (old - new).abs()
        narrow = narrow.nan_to_num(0.5).clamp(max=0.5)
        # Elsewhere it takes longer to be told than to go on.
        if count % 4 == 3 and gap.device.type == "cpu" and bool((narrow == 0.5).all()):
            break
        step = half
        if count < _STEPS:
            step = _step((new, old, third), (new_gap, old_gap, third_gap))
            step = torch.minimum(torch.maximum(step, narrow), 1 - narrow)
    return torch.where(new_gap < 0, old, new)


def _step(places: tuple[Tensor, Tensor, Tensor], gaps: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Return which part of the way from the first place to the second, on its other side, to go."""
    (a, b, c), (at_a, at_b, at_c) = places, gaps
    place, height = (a - b) / (c - b), (at_a - at_b) / (at_c - at_b)
    smooth = (height.square() < place) & ((1 - height).square() < 1 - place)
    one = at_a / (at_b - at_a) * at_c / (at_b - at_c)
    other = (c - a) / (b - a) * at_a / (at_c - at_a) * at_b / (at_c - at_b)
    return torch.where(smooth, one + other, 0.5)


def mixture_quantile(
    draws: Float[Tensor, "M N Q *rest"], levels: Float[Tensor, "Q"], q: float
) -> Float[Tensor, "N *rest"]:
    """Return the quantile at `q`, in float64, of M distributions, from their quantiles at `levels`.

    Between two levels the probability is interpolated linearly; beyond the outermost it is that of
    the normal distribution through the two quantiles that are nearest.

    >>> two = torch.tensor([0.0, 1.0, 2.0, 3.0, 5.0, 7.0]).view(2, 1, 3)
    >>> mixture_quantile(two, torch.tensor([0.1, 0.5, 0.9]), 0.5)
    tensor([2.3333], dtype=torch.float64)
    """
    each = draws.double().movedim(2, -1).contiguous()
    promised = sent(levels, each.device, each.dtype)
    ends = quantile_at(draws, levels.tolist(), q, dim=2)
    return crossing(lambda y: _mean_cdf(y, each, promised), q, ends)


def _mean_cdf(y: Tensor, quantiles: Tensor, levels: Tensor) -> Tensor:
    """Return the mean over members of P(target <= y), their quantiles in the last dimension."""
    points = y.expand(quantiles.shape[:-1]).unsqueeze(-1).contiguous()
    above = torch.searchsorted(quantiles, points, right=True)
    place = above.clamp(1, len(levels) - 1)
    low, high = quantiles.gather(-1, place - 1), quantiles.gather(-1, place)
    part = (points - low) / (high - low)  # which is not finite where both are the same
    inside = torch.lerp(levels[place - 1], levels[place], part.nan_to_num())
    z = torch.special.ndtri(levels)
    tail = torch.special.ndtr(torch.lerp(z[place - 1], z[place], part)).nan_to_num(1.0)
    known = (above > 0) & (above < len(levels))
    return torch.where(known, inside, tail).squeeze(-1).mean(0)


def mixture_of_normals(
    quantiles: Float[Tensor, "N Q *rest"],
    levels: Float[Tensor, "Q"],
    variance: Float[Tensor, "N *rest"],
) -> Float[Tensor, "N Q *rest"]:
    """Return mean quantiles as far from their median as draws that disagree ask for.

    The distance becomes √(distance² + z² variance) with z the normal quantile: what it is for
    normal distributions and the one of their total variance.

    Args:
        quantiles: the mean over draws of their quantiles.
        levels: the probabilities of these.
        variance: over draws of their median.

    >>> levels = torch.tensor([0.1587, 0.5, 0.8413])  # z = -1, 0, 1
    >>> mixture_of_normals(torch.tensor([[-3.0, 0.0, 3.0]]), levels, torch.tensor([16.0])).round()
    tensor([[-5.,  0.,  5.]], dtype=torch.float64)
    """
    like = [1, -1, *[1] * (quantiles.ndim - 2)]
    z = torch.special.ndtri(sent(levels, quantiles.device, torch.float64)).view(like)
    known = levels.tolist()
    median = quantile_at(quantiles, known, 0.5, dim=1).unsqueeze(1)
    distance = (quantiles - median).abs()
    wider = distance.hypot(z.abs().to(distance) * variance.sqrt().unsqueeze(1))
    found: Tensor = quantiles + z.sign().to(distance) * (wider - distance)
    # The median stays, also where it is between two levels.
    moved = quantile_at(found, known, 0.5, dim=1).unsqueeze(1)
    return found + (median - moved)


def quantile_at(quantiles: Tensor, levels: Sequence[float], q: float, dim: int) -> Tensor:
    """Return the quantile at `q`, in float64, from the nearest ones at `levels` along `dim`."""
    for place, level in enumerate(levels):
        if abs(level - q) <= ROUNDING:
            return quantiles.select(dim, place).double()
    above = bisect(levels, q)
    below, part = above - 1, (q - levels[above - 1]) / (levels[above] - levels[above - 1])
    low, high = quantiles.select(dim, below).double(), quantiles.select(dim, above).double()
    return torch.lerp(low, high, part)
