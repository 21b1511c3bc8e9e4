"""Samplers: a model's draws of raw outputs as functions of the input."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from itertools import islice

import torch
from jaxtyping import Float
from torch import Tensor, nn

from duda.agreement import agree
from duda.batches import Batch, each_input, rows_of
from duda.sampling import Randomness, random_draws, rows_at_a_time
from duda.written import guarded

__all__ = ["NotReady", "Sampler", "network_sampler"]


class NotReady(ValueError):
    """What a model draws from comes in its training, and is not there yet."""


@dataclass(frozen=True)
class Sampler:
    """Draws that are made by calling it with a batch, some at a time.

    What all batches share, such as the seed and weights that are drawn, is in it, so that each call
    begins again with draw 0. It is called in eval mode and without gradients, as `predict` does.

    Args:
        draws: from a batch, and the number of draws at a time or None, to all draws.
        joint: whether each draw is one function, the same for all examples and batches.
        rows: from a batch to how many of its examples are to be drawn at a time; without it all.
        by_engine: whether only the network's own calls may write to weights; otherwise all calls
            are watched.
    """

    draws: Callable[[Batch, int | None], Iterable[Float[Tensor, "m N *outputs"]]]
    joint: bool
    rows: Callable[[Batch], int] | None = field(default=None, kw_only=True)
    by_engine: bool = field(default=False, kw_only=True)

    def __call__(
        self, x: Batch, chunk: int | None = None
    ) -> Generator[Float[Tensor, "m N *outputs"]]:
        """Yield the draws of raw outputs for the batch `x`, `chunk` at a time if that is given."""
        draws = iter(self.draws(x, chunk))
        while True:
            with nullcontext() if self.by_engine else guarded():
                some = next(draws, None)
            if some is None:
                return
            yield some

    def tiles(self, x: Batch, chunk: int | None = None) -> Iterator[tuple[int, Batch]]:
        """Yield some examples after the other, and how many come before these, for `from_row`.

        All draws of them fit the memory, so that there is no need to repeat what the draws share.
        """
        size = rows_of(x) if chunk or self.rows is None else self.rows(x)
        if size == rows_of(x):
            yield 0, x
            return
        for first in range(0, rows_of(x), size):
            yield first, each_input(x, lambda values: values[first : first + size])  # noqa: B023

    def copies_agree(self, x: Batch) -> bool:
        """Return whether an input and its copies have the same first draws, as joint ones have."""
        try:
            return self._agree(x, 2)
        except Exception:  # whatever a network has against two rows, as one for batches of one size
            return self._agree(x, rows_of(x))

    def _agree(self, x: Batch, copies: int) -> bool:
        same = each_input(x, lambda values: torch.cat([values[:1]] * copies))
        with closing(self(same, 1)) as all_draws:
            draws = torch.cat([*islice(all_draws, 2)])
        return all(agree(draws, draws[:, :1].expand_as(draws)))


def network_sampler(
    network: nn.Module,
    samples: int,
    randomness: Callable[[Batch], Callable[[], Randomness]],
    *,
    seed: int,
    shared: bool = False,
    joint: bool = False,
    vmapped: Callable[[Batch], bool] = lambda x: True,
) -> Sampler:
    """Return what makes draws of a network with something random in it.

    Args:
        network: what is called.
        samples: the number of draws.
        randomness: from a batch to what makes the randomness of a pass.
        seed: of all randomness.
        shared: whether all examples are to share the numbers that are drawn for each of them.
        joint: whether draws are functions anyway.
        vmapped: whether to make several draws of a batch at once.
    """

    def draws(x: Batch, chunk: int | None) -> Iterator[Tensor]:
        return random_draws(
            network,
            x,
            samples,
            chunk,
            randomness(x),
            seed=seed,
            joint=shared,
            vmapped=vmapped(x),
        )

    def rows(x: Batch) -> int:
        if rows_of(x) == 1 or not vmapped(x):
            return rows_of(x)
        return rows_at_a_time(network, x, samples, randomness(x))

    return Sampler(draws, joint or shared, rows=rows, by_engine=True)


def found_joint(sampler: Sampler, x: Batch, asked: bool, name: str) -> bool:
    """Return whether draws are joint, also where a network draws random numbers by itself.

    Args:
        sampler: makes the draws.
        x: a batch.
        asked: whether they are to be joint.
        name: of the method, for errors.

    Raises:
        ValueError: if they are not, although that was asked for.
    """
    if asked and not sampler.joint:
        raise ValueError(
            f"`joint` is True, but a {name}'s draws are no functions of the input, the same "
            "for all examples: leave `joint` out, or use a method that makes joint draws."
        )
    found = sampler.joint and sampler.copies_agree(x)
    if asked and not found:
        raise ValueError(
            f"`joint` is True, but a network of this {name} draws random numbers by itself, "
            "new ones for each example: turn that off, use `duda.MCDropout`, or leave `joint` "
            "out."
        )
    return found
