"""Weights of examples as users have them: an array beside the data, or one of the inputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from duda.arrays import array_of
from duda.batches import Batch
from duda.checks import as_tensor
from duda.doubts import at_once
from duda.methods.example_weights import check_example_weights
from duda.transfer import sent

__all__ = ["read_weights", "split_weight", "without_weight"]


def read_weights(given: Any, examples: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the weights of all examples, checked.

    Raises:
        ValueError: if they are as many numbers as there are examples, or all of them are zero.
        TypeError: if they are no numbers.
    """
    weights = as_tensor(array_of(given, "sample_weight"), "sample_weight")
    with at_once():
        check_example_weights(weights, examples, "sample_weight")
    if not bool(weights.any()):
        raise ValueError("`sample_weight` is zero for all examples, expected some that count.")
    real = torch.float64 if dtype in (torch.float64, torch.complex128) else torch.float32
    return sent(weights, device, real)


def split_weight(x: Batch, name: str | None) -> tuple[Batch, Tensor | None]:
    """Return inputs without the one that holds the weights, and these.

    Raises:
        ValueError: if no input has this name.

    >>> split_weight({0: torch.ones(1, 2), "weight": torch.ones(1)}, "weight")
    (tensor([[1., 1.]]), tensor([1.]))
    """
    if name is None:
        return x, None
    if not isinstance(x, dict) or name not in x or len(x) == 1:
        found = ", ".join(map(repr, x)) if isinstance(x, dict) else "no names"
        raise ValueError(
            f"`sample_weight` is {name!r}, but the inputs have {found}: give the name beside those "
            "of inputs, or say by `inputs=lambda item: (args, {name: weights}, y)` what is what."
        )
    return without_weight(x, name), x[name]


def without_weight(x: Batch, name: str | None) -> Batch:
    """Return inputs without the one that holds the weights, if there is one."""
    if name is None or not isinstance(x, dict) or name not in x:
        return x
    others = {key: value for key, value in x.items() if key != name}
    return others[0] if [*others] == [0] else others
