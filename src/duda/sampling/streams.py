"""The state of torch's global random generators, read, set and forked without touching a seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from duda.checks import check_whole

__all__ = ["random_state", "seeded", "set_random_state"]


def random_state(device: torch.device | None) -> list[Tensor]:
    """Return the states of the generators for the CPU and, if it is a GPU, for `device`."""
    return [generator.get_state() for generator in _generators(device)]


def set_random_state(state: list[Tensor], device: torch.device | None) -> None:
    """Put the generators back into a state that `random_state` returned."""
    for generator, one in zip(_generators(device), state, strict=True):
        generator.set_state(one)


@contextmanager
def seeded(seed: int, devices: Iterable[torch.device]) -> Iterator[None]:
    """Start the generators from `seed`, and put them back at the end.

    Raises:
        ValueError: if `seed` is no whole number.
    """
    seed = check_whole(seed, "seed")
    before = [(device, random_state(device)) for device in (torch.device("cpu"), *devices)]
    try:
        for device, _ in before:
            for generator in _generators(device):
                generator.manual_seed(seed)
        yield
    finally:
        for device, state in before:
            set_random_state(state, device)


def _generators(device: torch.device | None) -> list[torch.Generator]:
    if device is None or device.type != "cuda":
        return [torch.default_generator]
    index = torch.cuda.current_device() if device.index is None else device.index
    return [torch.default_generator, torch.cuda.default_generators[index]]
