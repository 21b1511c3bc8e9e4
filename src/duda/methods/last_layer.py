"""The last layer of a network: what its outputs, which are the network's, are made from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from duda.batches import Batch
from duda.sampling import raw_outputs, with_rows

__all__ = ["outputs_and_features"]


def outputs_and_features(
    network: nn.Module, name: str, x: Batch, method: str
) -> tuple[Tensor, Tensor]:
    """Return a network's raw outputs, and what its last layer makes them from.

    Args:
        network: is called.
        name: of the layer in it.
        x: inputs.
        method: who asks.

    Raises:
        ValueError: if what the layer puts out is not what the network does, a row an example.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(2, 3))
    >>> outputs_and_features(network, "1", torch.ones(1, 2, 1), "Laplace")[1]
    tensor([[1., 1.]])
    """
    calls: list[tuple[Tensor, Tensor]] = []

    def note(_: nn.Module, args: Any, kwargs: Any, output: Tensor) -> None:
        calls.append(((*args, *kwargs.values())[0], output))

    layer = network.get_submodule(name)
    handle = layer.register_forward_hook(note, with_kwargs=True)
    try:
        outputs = raw_outputs(network, x)
    finally:
        handle.remove()
    wrong = _wrong(outputs, calls)
    if wrong is not None:
        raise ValueError(
            f"`network` has {name or 'itself'!r}, {layer}, as its last layer, which {wrong}: "
            f"{method} takes networks that end in that layer."
        )
    return with_rows(outputs, x), calls[0][0]


def _wrong(outputs: Tensor, calls: list[tuple[Tensor, Tensor]]) -> str | None:
    """Return why the layer's inputs and outputs are not what the network's outputs are made of."""
    if len(calls) != 1:
        return f"is called {len(calls)} times in a pass, expected once"
    if calls[0][1] is not outputs and not torch.equal(calls[0][1], outputs):
        return "does not put out what the network does, expected nothing, not even a softmax, after"
    if outputs.ndim != 2:
        return f"puts out the shape {tuple(outputs.shape)}, expected (N, outputs)"
    return None
