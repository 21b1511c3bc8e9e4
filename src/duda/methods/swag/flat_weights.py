"""Weights as one vector of real numbers, of a complex one its two parts, and back."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["flattened", "shaped"]


def flattened(weights: Mapping[str, Tensor]) -> Float[Tensor, "P"]:
    """Return all numbers of some weights, one after the other.

    >>> flattened({"a": torch.ones(1, 2), "b": torch.tensor(2 + 3j)})
    tensor([1., 1., 2., 3.])
    """
    return torch.cat([_real(weight.detach()).flatten() for weight in weights.values()])


def shaped(flat: Float[Tensor, "P"], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights in the shapes and dtypes of others, by their names."""
    places = {name: _real(weight) for name, weight in like.items()}
    parts = torch.split(flat, [place.numel() for place in places.values()])
    shaped = {
        name: part.view_as(place).to(place.dtype)
        for (name, place), part in zip(places.items(), parts, strict=True)
    }
    return {n: torch.view_as_complex(w) if like[n].is_complex() else w for n, w in shaped.items()}


def _real(weight: Tensor) -> Tensor:
    return torch.view_as_real(weight) if weight.is_complex() else weight
