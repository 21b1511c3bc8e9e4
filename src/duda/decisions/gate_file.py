"""Fitted promises as JSON files."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from duda.decisions.cost import Cost
from duda.decisions.false_alarm import FalseAlarm
from duda.decisions.keep import Keep
from duda.decisions.promise import Promise
from duda.decisions.risk import Risk
from duda.files import json_number, write_atomically

__all__ = ["read_promise", "write_promise"]

_FORMAT = {"format": "duda.gate", "version": 1}
_KINDS: dict[str, type[Promise]] = {kind.name: kind for kind in (Keep, Risk, FalseAlarm, Cost)}
_INFINITE = {"inf": float("inf"), "-inf": float("-inf")}


def write_promise(path: str | os.PathLike[str], promise: Promise) -> Path:
    """Write a fitted promise; floats by their shortest exact decimals, infinite ones by name."""
    values = {name: _encoded(getattr(promise, name)) for name in _fields(type(promise))}
    content = _FORMAT | {"promise": promise.name, "values": values}
    return write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def read_promise(path: str | os.PathLike[str]) -> Promise:
    """Read what `write_promise` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged or holds something else.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no gate at `{path}`: save one with `gate.save(path)`.")
    try:
        content = json.loads(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"`{path}` is no whole JSON file: {error}; save it again.") from error
    if not isinstance(content, dict) or not content.items() >= _FORMAT.items():
        raise ValueError(
            f"`{path}` holds no gate that this version of duda can read: expected {_FORMAT}."
        )
    kind = _KINDS.get(str(content.get("promise")))
    if kind is None:
        raise ValueError(
            f"`{path}` holds the promise {content.get('promise')!r}, expected one of "
            f"{', '.join(_KINDS)}."
        )
    values = content.get("values")
    fields = _fields(kind)
    if not isinstance(values, dict) or values.keys() != fields.keys():
        raise ValueError(
            f"`{path}` lacks values of the promise {kind.name!r}, or has others: expected "
            f"{', '.join(fields)}; save it again."
        )
    try:
        promise = kind(**{name: _decoded(values[name], fields[name]) for name in fields})
    except ValueError as error:
        raise ValueError(f"`{path}` holds no valid gate: {error}") from error
    if promise.examples == 0:
        raise ValueError(f"`{path}` holds a gate that was not fitted: fit it and save it again.")
    return promise


def _fields(kind: type[Promise]) -> dict[str, str]:
    """Return the types of what a promise holds, as they are written, by name."""
    return {field.name: str(field.type) for field in dataclasses.fields(kind)}  # type: ignore[arg-type]


def _encoded(value: Any) -> Any:
    if isinstance(value, Tensor):
        return [json_number(each) for each in value.tolist()]
    return json_number(value) if isinstance(value, float) else value


def _decoded(value: Any, expected: str) -> Any:
    if "Tensor" in expected and isinstance(value, list):
        return torch.tensor([_number(each) for each in value], dtype=torch.float64)
    if (value is None and "None" in expected) or (expected == "bool" and isinstance(value, bool)):
        return value
    number = _number(value)
    if expected == "int" and not (isinstance(number, int) and number >= 0):
        raise ValueError(f"it has {value!r} where a count is expected.")
    return number


def _number(value: Any) -> float:
    number = _INFINITE.get(value, value) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, (int, float)) or math.isnan(number):
        raise ValueError(f"it has {value!r} where a number is expected.")
    return number
