"""Mean distances of Student t variables, which their CRPS and that of their mixtures consist of."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["log_gamma_step", "log_peak", "mixture_crps_of_t"]

_LARGE = 30.0  # from where the series is exact to float64
_NODES = 49
_LEFT_OUT = math.log(1e10)  # as much smaller than the middle is what lies beyond the outermost

Cdf = Callable[[Tensor, Tensor], Tensor]  # of t of scale 1, by its value and degrees of freedom


def to_point(gap: Tensor, scale: Tensor, df: Tensor, cdf: Cdf) -> Tensor:
    """Return E|X - y| from y less the centre of X; |gap| where the scale is 0.

    Source: Jordan, Krüger & Lerch 2019, appendix A.
    """
    return _to_point(gap, scale, df, log_peak(df), cdf)


def _to_point(gap: Tensor, scale: Tensor, df: Tensor, peak: Tensor, cdf: Cdf) -> Tensor:
    z = gap / scale
    square = z.square()
    density = (peak - (df + 1) / 2 * (square / df).log1p()).exp()
    found = z * (2 * cdf(z, df) - 1) + 2 * density * (df + square) / (df - 1)
    return torch.where(scale > 0, scale * found, gap.abs())


def log_peak(df: Tensor) -> Tensor:
    """Return the log-density of t in the middle."""
    return log_gamma_step(df / 2) - (math.pi * df).log() / 2


def to_itself(scale: Tensor, df: Tensor) -> Tensor:
    """Return E|X - X'| of two alike. Source: as above."""
    # B(½, ν - ½) / B(½, ν / 2)², by differences that keep their digits for large ν.
    ratio = (2 * log_gamma_step(df / 2) - log_gamma_step(df - 0.5)).exp() / math.sqrt(math.pi)
    return 4 * scale * df.sqrt() / (df - 1) * ratio


def mixture_crps_of_t(parts: tuple[Tensor, Tensor, Tensor], y: Tensor, cdf: Cdf) -> Tensor:
    """Return E|X - y| - E|X - X'| / 2 of a mixture, from centres, scales and degrees of freedom.

    Args:
        parts: each `(M, *shape)`.
        y: `(*shape)`.
        cdf: of the t distribution.

    Source: Grimit et al. 2006, with distances between members by quadrature.
    """
    members = list(zip(*parts, strict=True))
    count = len(members)
    total = torch.zeros_like(y)
    for first, (mean, scale, df) in enumerate(members):
        total += to_point(y - mean, scale, df, cdf) / count
        total -= to_itself(scale, df) / (2 * count**2)
        for other in members[:first]:
            total -= _to_other((mean, scale, df), other, cdf) / count**2
    return total


def _to_other(
    one: tuple[Tensor, Tensor, Tensor], other: tuple[Tensor, Tensor, Tensor], cdf: Cdf
) -> Tensor:
    """Return E|X - X'| of two, the mean over the narrower one of the distance to the wider.

    At the scale of the narrower one that distance is smooth, so that the trapezoid rule over
    τ = asinh(z / √ν), where the density is as cosh(τ)^-ν, converges as fast as for a Gaussian.
    Source: Trefethen & Weideman 2014.
    """
    swap = one[1] > other[1]
    mean, scale, df = (torch.where(swap, b, a) for a, b in zip(one, other, strict=True))
    far_mean, far_scale, far_df = (torch.where(swap, a, b) for a, b in zip(one, other, strict=True))
    depth = _LEFT_OUT / (df - 1)
    end = depth + (-2 * depth).expm1().neg().sqrt().log1p()  # where cosh is exp(depth)
    total, weights, peak = torch.zeros_like(mean), torch.zeros_like(mean), log_peak(far_df)
    for node in torch.linspace(-1, 1, _NODES, dtype=torch.float64).tolist():
        z = (node * end).sinh()
        weight = (-df / 2 * z.square().log1p()).exp()
        gap = mean + scale * df.sqrt() * z - far_mean
        total += weight * _to_point(gap, far_scale, far_df, peak, cdf)
        weights += weight
    return total / weights


def log_gamma_step(alpha: Tensor) -> Tensor:
    """Return log Γ(α + ½) - log Γ(α), for large α by Stirling's series, without large terms.

    >>> log_gamma_step(torch.tensor([0.5, 1e8]))
    tensor([-0.5724,  9.2103])
    """
    small, inverse = alpha.clamp(max=_LARGE), 1 / alpha.clamp(min=_LARGE)
    series = -0.5 * inverse.log() - inverse / 8 + inverse**3 / 192 - inverse**5 / 640
    exact = (small + 0.5).lgamma() - small.lgamma()
    return torch.where(alpha > _LARGE, series, exact)
