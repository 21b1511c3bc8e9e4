"""Samplers: a model's draws of raw outputs as functions of the input."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from duda.batches import Batch

__all__ = ["Sampler"]


@dataclass(frozen=True)
class Sampler:
    """Draws that are made by calling it with a batch, some at a time.

    What all batches share, such as the seed and weights that are drawn, is in it, so that each call
    begins again with draw 0. It is called in eval mode and without gradients, as `predict` does.

    Args:
        draws: from a batch, and the number of draws at a time or None, to all draws.
        joint: whether each draw is one function, the same for all examples and batches.
    """

    draws: Callable[[Batch, int | None], Iterable[Float[Tensor, "m N *outputs"]]]
    joint: bool

    def __call__(
        self, x: Batch, chunk: int | None = None
    ) -> Iterator[Float[Tensor, "m N *outputs"]]:
        """Yield the draws of raw outputs for the batch `x`, `chunk` at a time if that is given."""
        yield from self.draws(x, chunk)
