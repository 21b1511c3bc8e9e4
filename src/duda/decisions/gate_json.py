"""Gate files of version 0.1, which were JSON: read, and no longer written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

__all__ = ["first_version"]

_FORMAT = {"format": "duda.gate", "version": 1}
_OPTIONS = {
    "keep": ["share"],
    "risk": ["level", "confidence"],
    "false-alarm": ["level", "batch"],
    "cost": ["error", "refusal", "asking", "refused_error"],
}


def first_version(path: str | os.PathLike[str]) -> tuple[str, dict[str, Any]] | None:
    """Return the name and the state of the guarantee in a file of version 0.1, None in others.

    Raises:
        ValueError: if it is JSON, but not whole or not of a gate.
    """
    whole = Path(path).read_bytes() if Path(path).is_file() else b"\0"
    if b"\0" in whole[:8]:  # the length that other files begin with; no text has it
        return None
    try:
        content = json.loads(whole)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"`{path}` is no whole JSON file: {error}; save it again.") from error
    if not isinstance(content, dict) or not content.items() >= _FORMAT.items():
        raise ValueError(
            f"`{path}` holds no gate that this version of duda can read: expected {_FORMAT}."
        )
    name, values = str(content.get("promise")), content.get("values")
    if not isinstance(values, dict):
        raise ValueError(f"`{path}` holds a gate without its values: save it again.")
    parts: dict[str, dict[str, Any]] = {"options": {}, "learned": {}}
    for key, value in values.items():
        part = "options" if key in _OPTIONS.get(name, []) else "learned"
        parts[part][key] = _decoded(value)
    return name, parts


def _decoded(value: Any) -> Any:
    """Return what JSON could not hold as it was: infinite numbers by name, tensors as lists."""
    if isinstance(value, list):
        numbers = [_decoded(each) for each in value]
        plain = all(isinstance(each, float) for each in numbers)
        return torch.tensor(numbers, dtype=torch.float64) if plain else numbers
    return float(value) if value in ("inf", "-inf") else value
