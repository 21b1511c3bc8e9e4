"""Layers to build networks with: RBF kernels, differential equations, exposures, cut points."""

from typing import TYPE_CHECKING

from duda.layers.cut_points import CutPoints
from duda.layers.exposure import Exposure
from duda.layers.ode import ODEBlock
from duda.layers.outputs import Outputs
from duda.layers.rbf import RBF
from duda.layers.sde import SDEBlock
from duda.renamed import renamed

__all__ = ["RBF", "CutPoints", "Exposure", "ODEBlock", "Outputs", "SDEBlock"]

_MOVED = (
    "LayerChoice",
    "last_linear",
    "swapped_weights",
    "watched_inputs",
    "weight_layers",
    "weights_of",
    "with_last_linear",
)

if not TYPE_CHECKING:
    __getattr__ = renamed(__name__, {name: f"duda.sampling.{name}" for name in _MOVED})
