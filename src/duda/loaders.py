"""DataLoaders in predictions: read in the order of their data, with numbers that follow a seed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import (
    DataLoader,
    RandomSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from duda.preservation import others_seeded

__all__ = ["following"]

_RANDOM = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)


@contextmanager
def following(data: Any, seed: int | None) -> Iterator[None]:
    """Let generators beside torch's global one follow a seed, and put them back at the end.

    They are those of Python and numpy, which a Dataset may use, and a DataLoader's own.

    A warning tells of one that shuffles, as what is predicted comes in another order than labels
    that are read from its data.

    >>> generator = torch.Generator()
    >>> before = generator.get_state()
    >>> with following(DataLoader([0, 1], generator=generator), seed=3):
    ...     generator.initial_seed()
    3
    >>> torch.equal(generator.get_state(), before)
    True
    """
    samplers = _samplers(data)
    if any(_shuffles(sampler) for sampler in samplers):
        warnings.warn(
            "`x` is a DataLoader that shuffles, so that predictions come in another order than "
            "the labels of its data: give one with `shuffle=False`.",
            stacklevel=5,
        )
    found = (getattr(each, "generator", None) for each in (data, *samplers) if samplers)
    if seed is None:
        yield
        return
    own = [each for each in found if isinstance(each, torch.Generator)]
    states = [generator.get_state() for generator in own]
    try:
        for generator in own:
            generator.manual_seed(int(seed))
        with others_seeded(seed):
            yield
    finally:
        for generator, state in zip(own, states, strict=True):
            generator.set_state(state)


def _samplers(data: Any) -> list[Any]:
    """Return what chooses the order of a DataLoader's examples and batches."""
    if not isinstance(data, DataLoader):
        return []
    batches = data.batch_sampler
    return [data.sampler, batches, getattr(batches, "sampler", None)]


def _shuffles(sampler: Any) -> bool:
    # Others, such as a DistributedSampler, say it by an attribute.
    return isinstance(sampler, _RANDOM) or getattr(sampler, "shuffle", False) is True
