"""Splits: the same parts for every data set, whatever its format."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from duda.shown import Shown

__all__ = [
    "Curve",
    "Split",
    "check_published",
    "data_folder",
    "generator",
    "one_input_problem",
    "regression_split",
]

_SHOWN_NAMES = 8


@dataclass(frozen=True, eq=False, repr=False)
class Curve(Shown):
    """What a plot of a problem with one input shows.

    Args:
        x: the inputs to show, ascending, in and outside of the training range.
        truth: the true function there, in original units.
        train_range: where training inputs lie.
    """

    x: Float[Tensor, "K 1"]
    truth: Float[Tensor, "K 1"]
    train_range: tuple[float, float]


@dataclass(frozen=True, eq=False, repr=False)
class Split(Shown):
    """A data set, split into training and test examples.

    Args:
        name: as in `load`.
        task: `"classification"`, with integer labels, or `"regression"`, with `(N, D)` targets.
        train: inputs and targets; pictures are `(N, C, H, W)` in [0, 1].
        test: the same.
        classes: their names, by label.
        ood: inputs from somewhere else, where the set brings its own.
        ood_name: what these are.
        y_mean: regression targets are standardised, `original = y_mean + y_std * y`.
        y_std: see `y_mean`.
        curve: what to plot, for one input.
    """

    name: str
    task: Literal["classification", "regression"]
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    classes: tuple[str, ...] = ()
    ood: Tensor | None = None
    ood_name: str = ""
    y_mean: float = 0.0
    y_std: float = 1.0
    curve: Curve | None = None


def regression_split(
    name: str,
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    *,
    curve: Curve | None = None,
    ood: Tensor | None = None,
    ood_name: str = "",
) -> Split:
    """Return the split with its targets standardised by the training examples."""
    mean, std = float(train[1].mean()), float(train[1].std(correction=0)) or 1.0
    return Split(
        name=name,
        task="regression",
        train=(train[0].float(), ((train[1] - mean) / std).float()),
        test=(test[0].float(), ((test[1] - mean) / std).float()),
        ood=None if ood is None else ood.float(),
        ood_name=ood_name,
        y_mean=mean,
        y_std=std,
        curve=curve,
    )


def one_input_problem(
    name: str,
    truth: Callable[[Tensor], Tensor],
    noise: Callable[[Tensor], Tensor],
    train_range: tuple[float, float],
    shown_range: tuple[float, float],
    seed: int,
    size: int,
) -> Split:
    """Return `size` training and `size` test examples of y = truth(x) + noise(x) ε, ε ~ N(0, 1)."""
    random = generator(seed)
    low, high = train_range

    def sample() -> tuple[Tensor, Tensor]:
        x = low + (high - low) * torch.rand(size, 1, generator=random, dtype=torch.float64)
        return x, truth(x) + noise(x) * torch.randn(size, 1, generator=random, dtype=torch.float64)

    shown = torch.linspace(*shown_range, 401, dtype=torch.float64)[:, None]
    outside = (shown[:, 0] < low) | (shown[:, 0] > high)
    return regression_split(
        name,
        train=sample(),
        test=sample(),
        curve=Curve(shown.float(), truth(shown).float(), train_range),
        ood=shown[outside],
        ood_name="outside the training range",
    )


def generator(seed: int) -> torch.Generator:
    """Return torch's generator for `seed`, apart from the global one."""
    return torch.Generator().manual_seed(seed)


def data_folder(name: str, files: Sequence[str], source: str, *, place: str | None = None) -> Path:
    """Return the folder of the data set `name` below `DUDA_DATA`, which has all `files`.

    Args:
        name: of the data set, and of its folder, with `/` for `:`.
        files: what must be there, relative to the folder.
        source: where to get them.
        place: the folder's official name, where it has another.

    Raises:
        FileNotFoundError: says where to get them, where to put them, and what is there.
    """
    place = place or name.replace(":", "/")
    root = os.environ.get("DUDA_DATA")
    if not root:
        raise FileNotFoundError(
            f"the data set {name!r} needs {', '.join(files)} in the folder `{place}` below the one "
            f"that the environment variable DUDA_DATA names, which is not set: get them from "
            f"{source}, put them there and set DUDA_DATA."
        )
    folder = Path(root) / place
    absent = [file for file in files if not (folder / file).is_file()]
    if absent:
        raise FileNotFoundError(
            f"the data set {name!r} lacks {', '.join(absent)} in `{folder}`, which "
            f"{_what_is_in(folder)}: get what is missing from {source}, and put it there."
        )
    return folder


def _what_is_in(folder: Path) -> str:
    """Return what to say of a folder that lacks something: what it is, or what it holds."""
    if not folder.exists():
        return "does not exist"
    if not folder.is_dir():
        return "is a file"
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    if not names:
        return "is empty"
    more = len(names) - _SHOWN_NAMES
    return f"holds {', '.join(names[:_SHOWN_NAMES])}{f' and {more:,} more' if more > 0 else ''}"


def check_published(content: bytes | memoryview, sha256: str, of: str, source: str) -> None:
    """Raise a `ValueError` unless `content` has the checksum of what was published.

    Args:
        content: the bytes of a file, or those that it packs.
        sha256: the checksum, in hexadecimal digits.
        of: what has this content, for the message: the file in backticks.
        source: where to get it.

    >>> check_published(b"", hashlib.sha256().hexdigest(), "`empty.bin`", "nowhere")
    """
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ValueError(
            f"{of} is not as published: it has {len(content):,} bytes with the SHA-256 checksum "
            f"{found[:12]}…, expected {sha256[:12]}…, so it is damaged or another version: get it "
            f"again from {source}."
        )
