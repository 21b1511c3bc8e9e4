"""Augmented batches: what a user's functions make of them, by a generator for member and epoch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from duda.batches import Batch, rows_of
from duda.items import tensors_of
from duda.training.seeds import epoch_seed

__all__ = ["Augment", "Augmented", "functions_of"]

# From inputs, targets and a generator on their device to inputs and targets of as many examples.
Augment = Callable[[Any, Tensor, torch.Generator], tuple[Any, Tensor]]


def functions_of(augment: Augment | Sequence[Augment] | None) -> tuple[Augment, ...]:
    """Return the functions that change batches, one after the other.

    Raises:
        TypeError: if something is no function.
    """
    if augment is None:
        return ()
    several = tuple(augment) if isinstance(augment, list | tuple) else (augment,)
    for each in several:
        if not callable(each) or isinstance(each, type):
            found = each.__name__ if isinstance(each, type) else f"a {type(each).__name__}"
            raise TypeError(
                f"`augment` is or holds {found}, expected functions `(x, y, generator) -> (x, y)`, "
                "such as `duda.training.augmentations.Flip()` (with its brackets)."
            )
    return several


class Augmented:
    """Changes the batches of a member in an epoch, always in the same way.

    Args:
        augment: functions.
        device: of the batches.
        seed: of the training.
        member: by its number.
        epoch: counted from 1.
    """

    def __init__(
        self, augment: Sequence[Augment], device: torch.device, seed: int, member: int, epoch: int
    ) -> None:
        self._augment, self._device = augment, device
        self._seed = epoch_seed(seed, member, epoch, "augment")

    @cached_property
    def _generator(self) -> torch.Generator:
        return torch.Generator(self._device).manual_seed(self._seed)

    def __call__(self, x: Batch, y: Tensor) -> tuple[Batch, Tensor]:
        """Return the batch as the functions change it.

        Raises:
            ValueError: if one of them returns something else than a batch of as many examples.
        """
        for change in self._augment:
            with torch.no_grad():
                found = change(x, y, self._generator)
            x, y = _batch(found, len(y))
        return x, y


def _batch(found: Any, examples: int) -> tuple[Batch, Tensor]:
    x, y = found if isinstance(found, tuple) and len(found) == 2 else (None, None)
    inputs = tensors_of(x)
    if inputs is None or not isinstance(y, Tensor):
        of = f" of {len(found)} parts" if isinstance(found, tuple) else ""
        raise ValueError(
            f"`augment` returned a {type(found).__name__}{of}, expected tensors `(x, y)`, of which "
            "inputs may have names."
        )
    rows = rows_of(inputs), len(y) if y.ndim else 0
    if rows != (examples, examples):
        raise ValueError(
            f"`augment` made {rows[0]} inputs and {rows[1]} targets of {examples} examples, "
            "expected as many as before."
        )
    return inputs, y
