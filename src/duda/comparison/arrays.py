"""Predictions that any program left in an `.npz` file, and the targets with them."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from duda.checks import as_tensor, check_probs, log_probs_from
from duda.likelihoods import Categorical
from duda.predictions import ClassPrediction, GaussianPrediction, Prediction, QuantilePrediction

__all__ = ["read_arrays"]

_KINDS = (("probs",), ("logits",), ("mean", "std"), ("quantiles", "levels"))
_TARGETS = ("labels", "y")
_LAYOUT = (
    "`probs` or `logits` (N, C), or `mean` and `std` (N,) or (N, D), or `quantiles` (N, Q) or "
    "(N, Q, D) with `levels` (Q,)"
)


def read_arrays(path: str | os.PathLike[str]) -> tuple[Prediction, Tensor | None]:
    """Return the prediction in an `.npz` file, and the targets, None where there are none.

    Args:
        path: a file with `probs` or `logits` `(N, C, *positions)`; or `mean` and `std` `(N,)` or
            `(N, D, *positions)`; or `quantiles` `(N, Q)` or `(N, Q, D, *positions)` and `levels`
            `(Q,)`. Targets are `labels` or `y`. Other arrays are not read.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds none of these, or more than one, or what they hold is wrong.
    """
    try:
        with _opened(path) as file, np.load(file, allow_pickle=False) as stored:
            known = [name for kind in _KINDS for name in kind] + list(_TARGETS)
            arrays = {name: stored[name] for name in known if name in stored}
            names = list(stored)
    except (zipfile.BadZipFile, EOFError, ValueError, TypeError) as error:
        raise ValueError(
            f"`{path}` is no .npz file of numbers ({error}): write one by `numpy.savez`."
        ) from error
    found = [kind for kind in _KINDS if all(name in arrays for name in kind)]
    targets = [name for name in _TARGETS if name in arrays]
    if len(found) != 1 or len(targets) > 1:
        raise ValueError(
            f"`{path}` holds {', '.join(names) or 'nothing'}, expected one of {_LAYOUT}, and "
            "targets as one of `labels` and `y`."
        )
    y = as_tensor(arrays[targets[0]], targets[0]) if targets else None
    try:
        return _read(found[0], {name: as_tensor(arrays[name], name) for name in found[0]}, y)
    except ValueError as error:
        raise ValueError(f"`{path}`: {error}") from error


def _opened(path: str | os.PathLike[str]) -> BinaryIO:
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file at `{path}`, expected predictions in an .npz file.")
    return Path(path).open("rb")


def _read(
    kind: tuple[str, ...], arrays: dict[str, Tensor], y: Tensor | None
) -> tuple[Prediction, Tensor | None]:
    if kind == ("probs",):
        check_probs(arrays["probs"], remedy="store raw outputs under the name `logits`")
        return ClassPrediction.from_probs(arrays["probs"]), y
    if kind == ("logits",):
        return Categorical().reduce(log_probs_from(None, arrays["logits"])[None]), y
    # One output may come without its dimension.
    dimensions = 1 if kind == ("mean", "std") else 2
    alone = arrays[kind[0]].ndim == dimensions
    if alone:
        arrays[kind[0]] = arrays[kind[0]].unsqueeze(dimensions)
        y = y.unsqueeze(1) if y is not None and y.ndim == 1 else y
    if kind == ("quantiles", "levels"):
        return QuantilePrediction(arrays["quantiles"], arrays["levels"]), y
    std = arrays["std"].unsqueeze(1) if alone and arrays["std"].ndim == 1 else arrays["std"]
    if bool((std < 0).any()):
        raise ValueError(
            f"`std` holds {float(std.min()):.4g}, expected standard deviations of at least 0."
        )
    return GaussianPrediction(arrays["mean"], torch.square(std.double()).to(std.dtype)), y
