"""Label map `semantic-kitti.yaml`: raw labels, the classes they count as, the official split."""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["LabelMap", "read_label_map"]

_CLASSES = 20
_LABELS = 2**16
_LONG = 80  # characters of a line that is not understood
_SEQUENCES = 100  # which have folders of two digits
_PARTS = ("train", "valid", "test")
_REMEDY = (
    "get `config/semantic-kitti.yaml` from https://github.com/PRBonn/semantic-kitti-api, the one "
    "for single scans"
)
_DIGITS = re.compile("[0-9]{1,9}")
_SECTION = re.compile(r"(\w+)\s*:\s*(?:#.*)?")
_ENTRY = re.compile(r"\s+(\w+)\s*:\s*(.*)")
_ITEM = re.compile(r"\s+-\s+(.+)")


@dataclass(frozen=True, eq=False)
class LabelMap:
    """What raw labels mean.

    Args:
        names: of the 20 classes; the first, "unlabeled", is not counted.
        colors: theirs in the official pictures: red, green, blue in [0, 1].
        table: the class of each raw label, -1 for a number that is none.
        split: the sequences of each part.
    """

    names: tuple[str, ...]
    colors: Float[Tensor, "20 3"]
    table: Int[np.ndarray, "65536"]
    split: dict[str, tuple[int, ...]]


def read_label_map(path: Path) -> LabelMap:
    """Return what the file says, which must be the version with 20 classes.

    Raises:
        ValueError: if a line is none of those that the official file has, or what it says does not
            fit together.
    """
    sections = _sections(path)
    try:
        names, classes = sections["labels"], sections["learning_map"]
        colors, inverse = sections["color_map"], sections["learning_map_inv"]
        split = {part: _numbers(sections["split"][part], part, path) for part in _PARTS}
    except KeyError as error:
        raise ValueError(f"`{path}` lacks the entry {error}: {_REMEDY}.") from None
    mapped = {repr(each) for each in classes.values()}
    if mapped != {str(each) for each in range(_CLASSES)} or set(inverse) != set(range(_CLASSES)):
        raise ValueError(
            f"`{path}` maps raw labels to {len(mapped)} classes and has {len(inverse)} to map "
            f"back, expected 0 to {_CLASSES - 1} for both: {_REMEDY}."
        )
    raw = [inverse[each] for each in range(_CLASSES)]
    for each, label in enumerate(raw):
        own = isinstance(label, int) and classes.get(label) == each
        if not own or not isinstance(names.get(label), str):
            raise ValueError(
                f"`{path}` maps class {each} back to the label {label!r}, expected one that has a "
                f"name and belongs to this class: {_REMEDY}."
            )
        if not _is_color(colors.get(label)):
            raise ValueError(
                f"`{path}` has {colors.get(label)!r} for the color of the label {label}, "
                f"expected three whole numbers from 0 to 255: {_REMEDY}."
            )
    blue_green_red = torch.tensor([colors[label] for label in raw], dtype=torch.float32)
    rgb = blue_green_red.flip(1) / 255
    return LabelMap(tuple(names[label] for label in raw), rgb, _table(classes, path), split)


def _numbers(value: Any, part: str, path: Path) -> tuple[int, ...]:
    if isinstance(value, list) and value and all(_is_whole(each, _SEQUENCES) for each in value):
        return tuple(value)
    raise ValueError(
        f"`{path}` has {value!r} for the part {part!r}, expected numbers of sequences: {_REMEDY}."
    )


def _is_color(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(_is_whole(v, 256) for v in value)


def _is_whole(value: Any, end: int) -> bool:
    return type(value) is int and 0 <= value < end


def _table(classes: dict[Any, Any], path: Path) -> Int[np.ndarray, "65536"]:
    table = np.full(_LABELS, -1)
    for label, each in classes.items():
        if label not in range(_LABELS):
            raise ValueError(
                f"`{path}` maps the label {label!r}, expected numbers from 0 to {_LABELS - 1}: "
                f"{_REMEDY}."
            )
        table[label] = each
    return table


def _sections(path: Path) -> dict[str, dict[Any, Any]]:
    """Return the sections of a file in the small part of YAML that the official one is written in.

    These are unindented names, below each `key: value` lines, and below a key without a value
    `- value` lines; values are numbers, quoted texts, booleans, or lists of these in brackets.
    """
    found: dict[str, dict[Any, Any]] = {}
    section: dict[Any, Any] = {}
    items: list[Any] | None = None
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if match := _SECTION.fullmatch(line):
            section, items = found.setdefault(match[1], {}), None
        elif (match := _ITEM.fullmatch(line)) and items is not None:
            items.append(_value(match[1], path, number))
        elif (match := _ENTRY.fullmatch(line)) and found:
            key = int(match[1]) if _DIGITS.fullmatch(match[1]) else match[1]
            items = None if match[2] else []
            section[key] = items if items is not None else _value(match[2], path, number)
        else:
            raise _not_understood(path, number, line)
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"`{path}` is no text ({error}): {_REMEDY}.") from None


def _value(text: str, path: Path, line: int) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):  # on what it thinks is odd in Python
            return ast.literal_eval(text)  # these values look the same, comments too
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise _not_understood(path, line, text) from None


def _not_understood(path: Path, line: int, text: str) -> ValueError:
    shown = text.strip()[:_LONG]
    return ValueError(
        f"`{path}` has {shown!r} in line {line}, expected the lines of the official file: "
        f"{_REMEDY}."
    )
