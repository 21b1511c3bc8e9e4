"""Averages of weights over the steps of a training, by which a model is judged and predicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Averages", "averaged_names"]

_STATISTICS = ("running_mean", "running_var")


def averaged_names(network: nn.Module) -> set[str]:
    """Return the names of what is averaged: what learns, and the statistics of a BatchNorm.

    Other buffers, such as counts, or what a method keeps, are as they are.

    >>> sorted(averaged_names(nn.BatchNorm1d(2)))
    ['bias', 'running_mean', 'running_var', 'weight']
    """
    names = {name for name, weight in network.named_parameters() if weight.requires_grad}
    return names | {
        name for name, _ in network.named_buffers() if name.rpartition(".")[2] in _STATISTICS
    }


class Averages:
    """Exponential moving averages, w̄ ← d w̄ + (1 − d) w, with d = min(decay, (1 + t) / (10 + t)).

    The least of both lets the first steps be forgotten in a short training, as in TensorFlow's
    `ExponentialMovingAverage`, with t steps so far. Source: Polyak & Juditsky 1992; Tarvainen &
    Valpola 2017, section 3.

    Args:
        decay: below 1, such as 0.999.
        values: returns the tensors of now, by name.
    """

    def __init__(self, decay: float, values: Callable[[], dict[str, Tensor]]) -> None:
        self.decay, self._values = decay, values
        self._kept = {name: value.clone() for name, value in values().items()}

    @torch.no_grad()
    def follow(self, steps: int) -> None:
        """Take in the values after so many steps."""
        decay, now = min(self.decay, (1 + steps) / (10 + steps)), self._values()
        torch._foreach_lerp_([*self._kept.values()], [now[name] for name in self._kept], 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Let averages and values change places."""
        for name, value in self._values().items():
            before = value.clone()
            value.copy_(self._kept[name])
            self._kept[name].copy_(before)

    def values(self) -> dict[str, Tensor]:
        """Return the averages."""
        return self._kept

    def load(self, state: dict[str, Any]) -> None:
        """Go on from what `values` returned."""
        for name, value in self._kept.items():
            value.copy_(state[name])
