"""Layers to build networks with, and what methods ask of the layers that a network has."""

from duda.layers.last import last_linear
from duda.layers.weights import LayerChoice, swapped_weights, weight_layers, weights_of

__all__ = ["LayerChoice", "last_linear", "swapped_weights", "weight_layers", "weights_of"]
