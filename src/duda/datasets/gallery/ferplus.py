"""FER+: faces, and how ten people each named the emotion that they saw."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import check_count
from duda.datasets.base import data_folder
from duda.progress import progress

__all__ = ["FERPlus", "VotedPictures", "ferplus"]

_EMOTIONS = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
)
_ANSWERS = (*_EMOTIONS, "unknown", "NF")
_COLUMNS = ("picture", "box", *_ANSWERS)
_VOTERS = 10
_COUNT = re.compile("[0-9]{1,9}")
_FORMATS = ("PNG", "JPEG", "BMP")  # whatever the name says; others may start programs
_SIDE = 48
_FOLDERS = ("FER2013Train", "FER2013Valid", "FER2013Test")
_SOURCE = (
    "https://github.com/microsoft/FERPlus, whose `generate_training_data.py` cuts the pictures out "
    "of `fer2013.csv` of https://www.kaggle.com/c/"
    "challenges-in-representation-learning-facial-expression-recognition-challenge"
)


@dataclass(frozen=True, eq=False)
class VotedPictures:
    """Pictures, and what each of several people took them for.

    Args:
        pictures: grey, in [0, 1].
        votes: how many people named each class; 10 a face, less those who named none.
        left_out: how many pictures were read and are not here.

    >>> VotedPictures(torch.zeros(1, 1, 48, 48), torch.tensor([[6, 2]]), left_out=0).shares
    tensor([[0.7500, 0.2500]])
    """

    pictures: Float[Tensor, "N 1 H W"]
    votes: Int[Tensor, "N C"]
    left_out: int

    @property
    def shares(self) -> Float[Tensor, "N C"]:
        """Each class's share of the votes: soft labels for `Categorical` and for metrics."""
        return self.votes / self.votes.sum(1, keepdim=True)


@dataclass(frozen=True, eq=False)
class FERPlus:
    """The faces of FER+ in their official parts.

    Args:
        train: 28,561 pictures in the whole set.
        validation: 3,579 of them.
        test: 3,574 of them.
        classes: the emotions, in the order of votes.
    """

    train: VotedPictures
    validation: VotedPictures
    test: VotedPictures
    classes: tuple[str, ...] = _EMOTIONS


def ferplus(limit: int | None = None) -> FERPlus:
    """Return the faces that `label.csv` lists in each of the three official folders.

    Ten people chose one of eight emotions, `unknown` or `NF` (not a face). As in the source, faces
    where one of these two has more votes than every emotion are left out, and such votes of the
    others dropped. Unlike its code this keeps single votes, and faces without a clear favourite.
    Source: Barsoum et al. 2016 (ICMI), "Training Deep Networks for Facial Expression Recognition".

    Args:
        limit: read no more than so many lines of each `label.csv`, from its top.

    Raises:
        FileNotFoundError: if a folder, its `label.csv` or pictures are missing.
        ValueError: if a file is damaged, or no face is left.
    """
    if limit is not None:
        limit = check_count(limit, "limit")
    root = data_folder("ferplus", [f"{folder}/label.csv" for folder in _FOLDERS], _SOURCE)
    train, validation, test = (_part(root / folder, limit) for folder in _FOLDERS)
    return FERPlus(train, validation, test)


def _part(folder: Path, limit: int | None) -> VotedPictures:
    names, votes = _labels(folder / "label.csv", limit)
    emotions = len(_EMOTIONS)
    kept = votes[:, :emotions].amax(1) >= votes[:, emotions:].amax(1)
    if not bool(kept.any()):
        raise ValueError(
            f"`{folder / 'label.csv'}` has no face among its first {len(names)} for which an "
            f"emotion has the most votes: read more, or get it again from {_SOURCE}."
        )
    pictures = _pictures(folder, names)
    return VotedPictures(pictures[kept], votes[kept, :emotions], int((~kept).sum()))


def _labels(path: Path, limit: int | None) -> tuple[list[str], Int[Tensor, "N 10"]]:
    """Return the pictures' names and all their votes."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))[:limit]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(
            f"`{path}` is no table of votes ({error}): get it again from {_SOURCE}."
        ) from error
    if not rows:
        raise ValueError(f"`{path}` is empty: get it again from {_SOURCE}.")
    votes = [_votes(row, f"`{path}`, line {line},") for line, row in enumerate(rows, 1)]
    return [row[0] for row in rows], torch.tensor(votes)


def _votes(row: list[str], where: str) -> list[int]:
    if len(row) not in (len(_COLUMNS), len(_COLUMNS) - 1):  # the source's script writes no box
        raise ValueError(
            f"{where} has {len(row)} columns, expected {len(_COLUMNS)} ({', '.join(_COLUMNS)}), or "
            f"one less without the box: get it again from {_SOURCE}."
        )
    given = row[-len(_ANSWERS) :]
    if not all(_COUNT.fullmatch(value) for value in given):
        raise ValueError(
            f"{where} holds the votes {', '.join(given)}, expected whole numbers from 0 up: get it "
            f"again from {_SOURCE}."
        )
    votes = [int(value) for value in given]
    if sum(votes) != _VOTERS:
        raise ValueError(
            f"{where} holds {sum(votes)} votes, expected {_VOTERS}: get it again from {_SOURCE}."
        )
    return votes


def _pictures(folder: Path, names: list[str]) -> Float[Tensor, "N 1 48 48"]:
    there = {path.name for path in folder.iterdir()}
    absent = [name for name in names if name not in there]
    if absent:
        raise FileNotFoundError(
            f"`{folder}` lacks {len(absent):,} of the {len(names):,} pictures that its `label.csv` "
            f"lists, the first `{absent[0]}`: get what is missing from {_SOURCE}, and put it there."
        )
    # In turn: threads take twice as long for pictures so small.
    shown = progress(names, f"read {folder.name}", len(names))
    pixels = np.stack([_pixels(folder / name) for name in shown])
    return torch.from_numpy(pixels).unsqueeze(1).float() / 255


def _pixels(path: Path) -> np.ndarray:
    from PIL import Image

    try:
        with Image.open(path, formats=_FORMATS) as picture:
            mode, pixels = picture.mode, np.asarray(picture)
    except Exception as error:  # pillow has many for damaged files, and no list of them
        raise ValueError(
            f"`{path}` is damaged or no picture ({error}): get it again from {_SOURCE}."
        ) from error
    if mode != "L" or pixels.shape != (_SIDE, _SIDE):
        raise ValueError(
            f"`{path}` has shape {pixels.shape} and mode {mode}, expected {(_SIDE, _SIDE)} and 8 "
            f"bits of grey (L): get it again from {_SOURCE}."
        )
    return pixels
