"""Deprecated names of evaluation: what is in `duda.detectors` now, or said in another way."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from torch import Tensor

from duda.checks import ArrayLike
from duda.evaluation.pit import Pit, pit

__all__ = ["MOVED", "features_of", "pit_of_gaussian"]

MOVED = {
    "FeatureDensity": "duda.detectors.FeatureDensity",
    "Mahalanobis": "duda.detectors.Mahalanobis",
    "NearestNeighbours": "duda.detectors.NearestNeighbors",
    "energy": "duda.detectors.energy",
    "max_logit": "duda.detectors.max_logit",
}


def features_of(network: Any, layer: str, x: Any, **options: Any) -> Tensor:
    """Return `duda.detectors.features_of(network, x, layer, **options)`, by its old name."""
    warnings.warn(
        "`duda.evaluation.features_of(network, layer, x)` is now "
        "`duda.detectors.features_of(network, x, layer)`: the old name goes in the next version.",
        DeprecationWarning,
        stacklevel=2,
    )
    detectors = importlib.import_module("duda.detectors")
    found: Tensor = detectors.features_of(network, x, layer, **options)
    return found


def pit_of_gaussian(mean: ArrayLike, std: ArrayLike, y: ArrayLike, *, bins: int = 200) -> Pit:
    """Return `pit(mean, y, std=std)`, by its old name."""
    warnings.warn(
        "`evaluation.pit_of_gaussian(mean, std, y)` is now `evaluation.pit(mean, y, std=std)`: the "
        "old name goes in the next version.",
        DeprecationWarning,
        stacklevel=2,
    )
    return pit(mean, y, std=std, bins=bins)
