"""Files of predictions: the family, its tensors and settings, and predictions inside of it."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from duda.checks import check_flag
from duda.predictions.base import Prediction
from duda.storage import Format, holding, read_safetensors

__all__ = ["FORMAT", "read", "write"]

P = TypeVar("P", bound=Prediction)

FORMAT = Format("prediction", version=2)


def write(path: str | os.PathLike[str], prediction: Prediction) -> Path:
    """Write a prediction, whole or not at all."""
    return FORMAT.write(path, type(prediction).__name__, _fields(prediction))


def read(path: str | os.PathLike[str], kinds: Mapping[str, type[P]]) -> P:
    """Read a prediction of one of the families `kinds`, by the names of their classes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged or holds something else.
    """
    kind, fields = _first_version(path) or FORMAT.read(path)
    with holding(path, kind):
        found: P = _made(kind, fields, kinds)
        return found


def _first_version(path: str | os.PathLike[str]) -> tuple[str, dict[str, Any]] | None:
    """Return what a file of version 0.1 holds, which had tensors only and no checksum."""
    if not Path(path).is_file():
        return None
    metadata, tensors = read_safetensors(path)
    if metadata.get("format") != FORMAT.name or metadata.get("version") != "1":
        return None
    return metadata.get("kind", ""), dict(tensors)


def _fields(prediction: Prediction) -> dict[str, Any]:
    return {name: _held(value) for name, value in prediction._fields().items()}


def _held(value: Any) -> Any:
    """Return what a file holds of a field: of predictions in it, each by its family."""
    if isinstance(value, Prediction):
        return {"kind": type(value).__name__, "fields": _fields(value)}
    if isinstance(value, Mapping):
        return {"by_name": {name: _held(each) for name, each in value.items()}}
    return value


def _made(kind: str, fields: Mapping[str, Any], kinds: Mapping[str, Any]) -> Any:
    """Return a prediction of the family, if the file has just what it needs."""
    family = kinds.get(kind)
    if family is None:
        raise ValueError(
            f"its family is {kind!r}, expected one of {', '.join(kinds)}: read a family of your "
            "own by the `load` of its class, or put it into `duda.predictions.PREDICTIONS`."
        )
    known = {field.name for field in dataclasses.fields(family)}
    needed = (
        known - {"draws", "joint", "classes", *_left_out(family)}
        if family.__module__.startswith("duda.")
        else set()
    )
    if not needed <= fields.keys() <= known:
        raise ValueError(
            f"it holds {sorted(fields)}, expected {sorted(known)}, of which only `draws` and "
            "`classes` may be missing; save it again."
        )
    check_flag(fields.get("joint", False), "joint")
    inside = _with_registered(kinds)
    return family(**{name: _taken_out(value, inside) for name, value in fields.items()})


def _taken_out(value: Any, kinds: Mapping[str, Any]) -> Any:
    """Return what a field was that `_held` wrote."""
    if not isinstance(value, dict):
        return value
    if "by_name" in value:
        return {name: _taken_out(each, kinds) for name, each in value["by_name"].items()}
    return _made(value["kind"], value["fields"], kinds)


def _left_out(family: type[Any]) -> set[str]:
    """Return the names of fields that are None where there is nothing to say."""
    fields = dataclasses.fields(family)
    return {each.name for each in fields if each.kw_only and each.default is None}


def _with_registered(kinds: Mapping[str, Any]) -> dict[str, Any]:
    from duda.predictions import PREDICTIONS  # which is made of what imports this

    return {**PREDICTIONS, **kinds}
