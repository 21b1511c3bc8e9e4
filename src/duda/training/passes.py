"""Passes through a model in training: cast to 16 bits, compiled, or with channels last."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from duda.batches import Batch, each_input, weight_like
from duda.methods import UncertainModel
from duda.methods.example_weights import weighed
from duda.training.precision import autocast
from duda.training.settings import Training

__all__ = ["Passes", "laid_out"]

_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


class Passes:
    """Losses of a model on batches, as the settings say; the model itself stays as it is.

    Args:
        part: the model.
        training: the settings.
    """

    def __init__(self, part: UncertainModel, training: Training) -> None:
        self.part, self.channels_last = part, training.channels_last
        self._cast = autocast(training.precision, weight_like(part))
        self._compiled = _compiled(part, training.compile) if training.compile else {}

    def loss(self, x: Batch, y: Tensor, weight: Tensor | None) -> Tensor:
        """Return the loss on a batch, whose gradients are to be taken."""
        x = each_input(x, _with_channels_last) if self.channels_last else x
        with self._cast, _called_by(self._compiled), weighed(weight):
            return self.part.loss(x, y)


@contextmanager
def laid_out(model: nn.Module, channels_last: bool) -> Iterator[None]:
    """Let the weights of convolutions have their channels last, and at the end be as before."""
    weights = [w for w in model.parameters() if w.ndim in _LAST] if channels_last else []
    before = [weight.stride() for weight in weights]
    for weight in weights:
        weight.data = _with_channels_last(weight.data)
    try:
        yield
    finally:
        for weight, stride in zip(weights, before, strict=True):
            found = weight.data
            weight.data = found.new_empty_strided(found.shape, stride).copy_(found)


def _with_channels_last(values: Tensor) -> Tensor:
    layout = _LAST.get(values.ndim, torch.preserve_format)
    return values.contiguous(memory_format=layout) if values.ndim in _LAST else values


def _compiled(
    part: nn.Module, settings: bool | Mapping[str, Any]
) -> dict[nn.Module, Callable[..., Any]]:
    """Return for each of a model's networks what is to be called in place of it.

    A graph is for one shape, so that a training that goes on computes by the same graphs.
    """
    given = {} if isinstance(settings, bool) else dict(settings)
    return {
        network: torch.compile(network.forward, **{"dynamic": False, **given})
        for network in _networks(part)
    }


def _networks(part: nn.Module) -> Iterator[nn.Module]:
    for child in part.children():
        if isinstance(child, UncertainModel | nn.ModuleList):
            yield from _networks(child)
        else:
            yield child


@contextmanager
def _called_by(compiled: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Let networks be called as compiled; whoever looks at them otherwise sees them as they are."""
    own = [(network, network.__dict__.get("forward")) for network in compiled]
    try:
        for network, call in compiled.items():
            network.__dict__["forward"] = call
        yield
    finally:
        for network, before in own:
            if before is None:
                network.__dict__.pop("forward", None)
            else:
                network.__dict__["forward"] = before
