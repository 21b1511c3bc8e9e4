"""Draws that are the members of an ensemble: networks of one build, or of several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["member_draws"]


def member_draws(
    networks: Sequence[nn.Module], x: Tensor, chunk: int | None = None
) -> Iterator[Float[Tensor, "m N ..."]]:
    """Yield the outputs of each network for `x`, `chunk` at a time."""
    for network in networks:
        yield network(x).unsqueeze(0)
