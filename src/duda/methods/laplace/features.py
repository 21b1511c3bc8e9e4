"""Features and weights of the last linear layer, as they are used, in float64."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from duda.batches import Batch
from duda.methods.last_layer import outputs_and_features

__all__ = ["check_linear", "outputs_and_inputs", "used_weights"]

_TOLERANCE = 1e-2  # of the largest output: half precision and autocast round as far


def outputs_and_inputs(
    network: nn.Module, name: str, x: Batch
) -> tuple[Float[Tensor, "N C"], Float[Tensor, "N F"]]:
    """Return raw outputs, and what the last layer makes them from; with a bias its last part is 1.

    Raises:
        ValueError: if what the layer puts out is not what the network does, a row an example.

    >>> outputs_and_inputs(nn.Sequential(nn.ReLU(), nn.Linear(2, 3)), "1", torch.eye(2))[1]
    tensor([[1., 0., 1.],
            [0., 1., 1.]], dtype=torch.float64)
    """
    outputs, inputs = outputs_and_features(network, name, x, "Laplace")
    features = inputs.double()
    if network.get_submodule(name).bias is not None:
        features = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)
    return outputs, features


def used_weights(layer: nn.Linear) -> Float[Tensor, "C F"]:
    """Return the weights and the biases that the last pass has multiplied with and added.

    Those of weight norm, spectral norm and pruning are no parameters, but made of these.
    """
    used = [layer.weight] if layer.bias is None else [layer.weight, layer.bias[:, None]]
    return torch.cat([each.detach().double() for each in used], dim=1)


def check_linear(layer: nn.Linear, outputs: Tensor, features: Tensor) -> None:
    """Raise a `ValueError` if a layer's outputs are not those of its weights, as with a hook."""
    expected = features @ used_weights(layer).T
    if float((outputs - expected).abs().max()) > _TOLERANCE * float(expected.abs().max()):
        raise ValueError(
            f"`network` ends in {layer}, whose outputs are not what its weights make of its "
            "inputs, expected a linear layer: remove the hooks that change them."
        )
