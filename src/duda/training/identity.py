"""Identity of a run: what must be the same for a training to go on from a checkpoint."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from duda.items import ItemRule
from duda.methods import UncertainModel
from duda.training.data import LoaderData, TensorData
from duda.training.descriptions import described, module_settings
from duda.training.options import Options

__all__ = ["model_identity", "run_identity"]


def run_identity(
    model: UncertainModel,
    train: TensorData | LoaderData,
    valid: TensorData | LoaderData | None,
    options: Options,
    rule: ItemRule | None,
    callbacks: Sequence[object],
) -> dict[str, Any]:
    """Return by name what tells a run from others, as JSON values.

    Raises:
        TypeError: if something cannot be told from others of its kind.
        ValueError: if the data cannot.
    """
    return {
        **model_identity(model),
        **options.settings(),
        "inputs": described(rule, "inputs"),
        "data": train.identity(),
        "validation": None if valid is None else valid.identity(),
        "callbacks": [type(callback).__name__ for callback in callbacks],
    }


def model_identity(model: UncertainModel) -> dict[str, Any]:
    """Return what tells a model from others, whatever its weights.

    Raises:
        TypeError: if an argument of it, or a function in its network, cannot be told from others.
    """
    return {
        "model": [type(model).__name__, len(model.independent())],
        "classes": model.classes,
        "weights": [
            [name, list(weight.shape), str(weight.dtype), weight.requires_grad]
            for name, weight in model.named_parameters()
        ],
        # No addresses, which are others in each process.
        "network": re.sub(r" at 0x[0-9a-f]+", "", repr(model)).splitlines(),
        "likelihood": described(model.given_likelihood, "likelihood"),
        "settings": module_settings(model),
    }
