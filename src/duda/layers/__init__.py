"""Layers to build networks with: RBF kernels, and blocks that are differential equations."""

import importlib
import warnings
from typing import Any

from duda.layers.ode import ODEBlock
from duda.layers.rbf import RBF
from duda.layers.sde import SDEBlock

__all__ = ["RBF", "ODEBlock", "SDEBlock"]

_MOVED = (
    "LayerChoice",
    "last_linear",
    "swapped_weights",
    "watched_inputs",
    "weight_layers",
    "weights_of",
    "with_last_linear",
)


def __getattr__(name: str) -> Any:
    """Find what is in `duda.sampling` by now, for one version more."""
    if name not in _MOVED:
        raise AttributeError(f"module 'duda.layers' has no attribute {name!r}")
    warnings.warn(
        f"`duda.layers.{name}` is `duda.sampling.{name}` by now: import it from there.",
        DeprecationWarning,
        stacklevel=2,
    )
    return getattr(importlib.import_module("duda.sampling"), name)
