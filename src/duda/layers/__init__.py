"""Layers to build networks with, and what methods ask of the layers that a network has."""

from duda.layers.last import last_linear, with_last_linear
from duda.layers.ode import ODEBlock
from duda.layers.rbf import RBF
from duda.layers.sde import SDEBlock
from duda.layers.watched import watched_inputs
from duda.layers.weights import LayerChoice, swapped_weights, weight_layers, weights_of

__all__ = [
    "RBF",
    "LayerChoice",
    "ODEBlock",
    "SDEBlock",
    "last_linear",
    "swapped_weights",
    "watched_inputs",
    "weight_layers",
    "weights_of",
    "with_last_linear",
]
