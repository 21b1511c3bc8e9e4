"""Probability spread evenly within each of K bins: distribution function, quantiles and CRPS.

Bins lie in the last dimension, with K + 1 ascending edges; all is float64. Their probabilities may
add up to less than 1, where the rest lies beyond the last edge.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["bin_of", "binned_cdf", "binned_crps", "binned_quantile"]


def bin_of(y: Float[Tensor, "*shape"], edges: Float[Tensor, "... K+1"]) -> Int[Tensor, "*shape"]:
    """Return in which bin, by its number, values lie: from its lower edge on, the last one whole.

    Those before the first are -1, those after the last are K.

    >>> bin_of(torch.tensor([-1.0, 0.0, 1.0, 2.0, 3.0]), torch.tensor([0.0, 1.0, 2.0]))
    tensor([-1,  0,  1,  1,  2])
    """
    points = y.unsqueeze(-1)
    below = (points >= edges[..., :-1]).sum(-1) - 1
    return below + (y > edges[..., -1]).long()


def binned_cdf(
    y: Float[Tensor, "*shape"], masses: Float[Tensor, "*shape K"], edges: Float[Tensor, "... K+1"]
) -> Float[Tensor, "*shape"]:
    """Return the probability of at most `y`.

    >>> binned_cdf(torch.tensor(1.5), torch.tensor([0.5, 0.5]), torch.tensor([0.0, 1.0, 2.0]))
    tensor(0.7500)
    """
    parts = ((y.unsqueeze(-1) - edges[..., :-1]) / edges.diff(dim=-1)).clamp(0, 1)
    return (masses * parts).sum(-1)


def binned_quantile(
    q: Float[Tensor, "*shape S"], masses: Float[Tensor, "*shape K"], edges: Float[Tensor, "... K+1"]
) -> Float[Tensor, "*shape S"]:
    """Return the values that have the probabilities `q` below them, infinite ones beyond all bins.

    >>> two = torch.tensor([0.5, 0.5])
    >>> binned_quantile(torch.tensor([0.25, 0.75]), two, torch.tensor([0.0, 1.0, 3.0]))
    tensor([0.5000, 2.0000])
    """
    upto = masses.cumsum(-1)
    place = torch.searchsorted(upto, q.contiguous())
    inside = place.clamp(max=masses.shape[-1] - 1)
    mass, end = masses.gather(-1, inside), upto.gather(-1, inside)
    edges = edges.expand(*masses.shape[:-1], -1)
    low, high = edges.gather(-1, inside), edges.gather(-1, inside + 1)
    found = high - (high - low) * ((end - q) / mass).clamp(0, 1).nan_to_num()
    return torch.where(place < masses.shape[-1], found, torch.inf)


def binned_crps(
    y: Float[Tensor, "*shape"], masses: Float[Tensor, "*shape K"], edges: Float[Tensor, "... K+1"]
) -> Float[Tensor, "*shape"]:
    """Return the integral of (F(x) - [x >= y])², F being linear in each bin; masses add up to 1.

    Source: Gneiting & Raftery 2007, eq. 20.

    >>> binned_crps(torch.tensor(0.0), torch.tensor([1.0]), torch.tensor([0.0, 1.0]))
    tensor(0.3333)
    """
    low, high = edges[..., :-1], edges[..., 1:]
    split = torch.minimum(torch.maximum(y.unsqueeze(-1), low), high)
    end = masses.cumsum(-1)
    start = end - masses
    middle = start + masses * (split - low) / (high - low)
    before = (split - low) * _mean_square(start, middle)
    after = (high - split) * _mean_square(1 - middle, 1 - end)
    outside = (edges[..., 0] - y).clamp(min=0) + (y - edges[..., -1]).clamp(min=0)
    return (before + after).sum(-1) + outside


def _mean_square(start: Tensor, end: Tensor) -> Tensor:
    """Return the mean square of what goes from one value to the other in a straight line."""
    return (start.square() + start * end + end.square()) / 3
