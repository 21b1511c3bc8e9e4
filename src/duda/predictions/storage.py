"""Files of predictions: safetensors, with the family and its settings in the metadata."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from duda.files import write_atomically
from duda.predictions.base import Prediction

__all__ = ["FORMAT", "read", "write"]

P = TypeVar("P", bound=Prediction)

FORMAT = {"format": "duda.prediction", "version": "2"}
_READABLE = ("1", "2")  # the first had no settings


def write(path: str | os.PathLike[str], prediction: Prediction) -> Path:
    """Write a prediction, whole or not at all; predictions in it go by dotted names."""
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    family = _taken_apart(prediction, "", tensors)
    metadata = FORMAT | {"kind": family["kind"], "family": json.dumps(family)}
    # Not save_file: killed, it would leave a file with a name of its own behind.
    return write_atomically(path, save(tensors, metadata))


def read(path: str | os.PathLike[str], kinds: Mapping[str, type[P]]) -> P:
    """Read a prediction of one of the families `kinds`, by the names of their classes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged or holds something else.
    """
    metadata, tensors = _contents(path)
    known = metadata.get("format") == FORMAT["format"] and metadata.get("version") in _READABLE
    if not known or metadata.get("kind") not in kinds:
        raise ValueError(
            f"`{path}` holds no prediction that this version of duda can read: its metadata are "
            f"{metadata}, expected {FORMAT} and one of {', '.join(kinds)}: read a family of your "
            "own by the `load` of its class, or put it into `duda.predictions.PREDICTIONS`."
        )
    family = json.loads(metadata.get("family", "null")) or {"kind": metadata["kind"]}
    try:
        found: P = _put_together(family, "", tensors, kinds)
        return found
    except _Unfitting as error:
        raise ValueError(f"`{path}` {error}; save it again.") from error
    except (ValueError, TypeError) as error:
        raise ValueError(f"`{path}` holds no valid {metadata['kind']}: {error}") from error


class _Unfitting(Exception):
    """What is in a file is not what its family has."""


def _contents(path: str | os.PathLike[str]) -> tuple[dict[str, str], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise FileNotFoundError(
            f"no prediction at `{path}`: save one with `prediction.save(path)`."
        )
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return file.metadata() or {}, tensors
    except SafetensorError as error:
        raise ValueError(
            f"`{path}` is no whole safetensors file: {error}; save it again."
        ) from error


def _taken_apart(prediction: Prediction, prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Return the family and its settings, and put the tensors under their names."""
    inside: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    for name, value in prediction._fields().items():
        if isinstance(value, Tensor):
            # The format refuses gaps, and two names for the same memory.
            whole = value.detach().cpu().clone(memory_format=torch.contiguous_format)
            tensors[prefix + name] = whole
        elif isinstance(value, Prediction):
            inside[name] = _taken_apart(value, f"{prefix}{name}.", tensors)
        else:
            settings[name] = value
    return {
        "kind": type(prediction).__name__,
        "fields": list(prediction._fields()),
        "settings": settings,
        "inside": inside,
    }


def _put_together(
    family: Mapping[str, Any], prefix: str, tensors: Mapping[str, Tensor], kinds: Mapping[str, Any]
) -> Any:
    kind = kinds.get(family["kind"])
    if kind is None:
        raise _Unfitting(f"holds a {family['kind']} inside, expected one of {', '.join(kinds)}")
    inside = family.get("inside", {})
    found: dict[str, Any] = {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix) and "." not in name.removeprefix(prefix)
    }
    found |= family.get("settings", {})
    found |= {
        name: _put_together(each, f"{prefix}{name}.", tensors, kinds)
        for name, each in inside.items()
    }
    known = {field.name for field in dataclasses.fields(kind)}
    wanted = set(family.get("fields", known - {"draws", "joint"} | found.keys() & {"draws"}))
    if found.keys() != wanted or not wanted <= known:
        raise _Unfitting(
            f"holds {sorted(found)}, expected for a {family['kind']} {sorted(wanted & known)}"
        )
    return kind(**found)
