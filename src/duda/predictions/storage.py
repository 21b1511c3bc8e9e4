"""Reading what `Prediction.save` wrote."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from duda.predictions.base import FORMAT, Prediction
from duda.predictions.classes import ClassPrediction
from duda.predictions.gaussian import GaussianPrediction
from duda.predictions.laplacian import LaplacianPrediction
from duda.predictions.quantiles import QuantilePrediction
from duda.predictions.scored import ScoredClassPrediction

__all__ = ["load_prediction"]

_KINDS: dict[str, type[Prediction]] = {
    kind.__name__: kind
    for kind in (
        ClassPrediction,
        GaussianPrediction,
        LaplacianPrediction,
        QuantilePrediction,
        ScoredClassPrediction,
    )
}


def load_prediction(path: str | os.PathLike[str]) -> Prediction:
    """Read what `Prediction.save` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged or holds something else.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(
            f"no prediction at `{path}`: save one with `prediction.save(path)`."
        )
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"`{path}` is no whole safetensors file: {error}; save it again."
        ) from error
    kind = _KINDS.get(metadata.get("kind", ""))
    if kind is None or not metadata.items() >= FORMAT.items():
        raise ValueError(
            f"`{path}` holds no prediction that this version of duda can read: its metadata are "
            f"{metadata}, expected {FORMAT}."
        )
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if tensors.keys() | {"draws"} != names:
        raise ValueError(
            f"`{path}` holds {sorted(tensors)}, expected for a {kind.__name__} {sorted(names)}, of "
            "which only `draws` may be missing; save it again."
        )
    try:
        return kind(**tensors)
    except ValueError as error:
        raise ValueError(f"`{path}` holds no valid {kind.__name__}: {error}") from error
