"""Features of the last linear layer: what its outputs, which are the network's, are made from."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from duda.batches import Batch
from duda.sampling import raw_outputs, with_rows

__all__ = ["outputs_and_features"]


def outputs_and_features(
    network: nn.Module, name: str, x: Batch
) -> tuple[Float[Tensor, "N C"], Float[Tensor, "N F"]]:
    """Return a network's raw outputs, and in float64 what its last layer makes them from.

    Args:
        network: is called.
        name: of the layer in it; if that has a bias, the last feature is 1.
        x: inputs.

    Raises:
        ValueError: if what the layer puts out is not what the network does, a row an example.

    >>> outputs_and_features(nn.Sequential(nn.ReLU(), nn.Linear(2, 3)), "1", torch.eye(2))[1]
    tensor([[1., 0., 1.],
            [0., 1., 1.]], dtype=torch.float64)
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
            f"`network` has {name or 'itself'!r} as the `nn.Linear` that was registered last, "
            f"which {wrong}: Laplace takes networks that end in that layer."
        )
    features = calls[0][0].double()
    if layer.bias is not None:
        features = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)
    return with_rows(outputs, x), features


def _wrong(outputs: Tensor, calls: list[tuple[Tensor, Tensor]]) -> str | None:
    """Return why the layer's inputs and outputs are not what the network's outputs are made of."""
    if len(calls) != 1:
        return f"is called {len(calls)} times in a pass, expected once"
    if calls[0][1] is not outputs and not torch.equal(calls[0][1], outputs):
        return "does not put out what the network does, expected nothing after it"
    if outputs.ndim != 2:
        return f"puts out the shape {tuple(outputs.shape)}, expected (N, outputs)"
    return None
