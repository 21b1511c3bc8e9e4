"""Arrays of predictions of any program, from `.npz` files, and the targets with them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from duda.checks import (
    as_tensor,
    at_least_float32,
    check_finite,
    check_same_shape,
)
from duda.comparison.npz import read_npz
from duda.comparison.points import PointPrediction
from duda.inputs import flags, hard_labels
from duda.likelihoods import Categorical
from duda.predictions import (
    ClassPrediction,
    DrawnPrediction,
    GaussianPrediction,
    NegativeBinomialPrediction,
    PoissonPrediction,
    Prediction,
    QuantilePrediction,
)
from duda.probabilities import check_probs, log_probs_from

__all__ = ["Arrays", "read_arrays", "read_prediction"]

_LAWS: dict[tuple[str, ...], type[DrawnPrediction]] = {
    ("rate",): PoissonPrediction,
    ("mean", "dispersion"): NegativeBinomialPrediction,
}
_KINDS = (
    ("probs",),
    ("logits",),
    ("mean", "std"),
    ("mean",),
    ("quantiles", "levels"),
    *_LAWS,
)
_TARGETS = ("labels", "y")
_NUMBERS = "biuf"  # numpy's kinds of real numbers
_LAYOUT = (
    "`probs` or `logits` (N, C), or `mean` and `std` (N,) or (N, D), `mean` alone, or `quantiles` "
    "(N, Q) or (N, Q, D) with `levels` (Q,), or of counts `rate`, or `mean` and `dispersion` (N,) "
    "or (N, D)"
)


class Arrays(NamedTuple):
    """A prediction, its targets, and which of them count; None where there are no targets."""

    prediction: Prediction
    y: Tensor | None
    counted: Bool[Tensor, "N *rest"] | None


def read_arrays(path: str | os.PathLike[str], ignore_index: int | None = None) -> Arrays:
    """Return what an `.npz` file holds.

    Args:
        path: a file with `probs` or `logits` `(N, C, *positions)`; or `mean` and `std` `(N,)` or
            `(N, D, *positions)`, or `mean` alone; or `quantiles` `(N, Q)` or
            `(N, Q, D, *positions)` and `levels` `(Q,)`; or of counts `rate`, or `mean` and
            `dispersion`, in the shape of means. Targets are `labels` or `y`; where a
            `mask` of their shape is False they do not count. Other arrays are not read.
        ignore_index: the label of what does not count.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it holds none of these, or more than one, or what they hold is wrong.
    """
    arrays = _stored(path)
    with _named(path):
        prediction, fitting = _prediction(arrays)
        name = next((name for name in _TARGETS if name in arrays), None)
        if name is None:
            return Arrays(prediction, None, None)
        array, kept = _counted(arrays[name], name, arrays.get("mask"), ignore_index)
        y = fitting(array, name)
        return Arrays(prediction, y, torch.from_numpy(kept).reshape(y.shape))


def read_prediction(path: str | os.PathLike[str]) -> Prediction:
    """Return the prediction in an `.npz` file as `read_arrays` does, whatever its targets are."""
    arrays = _stored(path)
    with _named(path):
        return _prediction(arrays)[0]


@contextmanager
def _named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Say which file is wrong."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"`{path}`: {error}") from error


def _stored(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Return the arrays of the one kind of prediction in a file, and of its targets, if any."""
    known = list(dict.fromkeys(name for kind in _KINDS for name in kind))
    arrays, names = read_npz(path, [*known, *_TARGETS, "mask"])
    found = [kind for kind in _KINDS if all(name in arrays for name in kind)]
    found = [kind for kind in found if not any(set(kind) < set(other) for other in found)]
    targets = [name for name in _TARGETS if name in arrays]
    if len(found) != 1 or len(targets) > 1:
        raise ValueError(
            f"`{path}` holds {', '.join(names) or 'nothing'}, expected one of {_LAYOUT}, and "
            "targets as one of `labels` and `y`."
        )
    return {name: arrays[name] for name in (*found[0], *targets, "mask") if name in arrays}


def _counted(
    array: np.ndarray, name: str, mask: np.ndarray | None, ignore_index: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return targets, with 0 in place of those that do not count, and which of them do."""
    kept = np.ones(array.shape, dtype=bool)
    if ignore_index is not None:
        if array.dtype.kind not in "iu":
            raise ValueError(
                f"`{name}` has dtype {array.dtype} and `ignore_index` is {ignore_index}, expected "
                "labels with it, which are integers: store which numbers count as `mask`."
            )
        kept = array != ignore_index
    if mask is not None:
        kept = kept & flags(mask, "mask", torch.from_numpy(kept), f"`{name}`").numpy()
    if kept.size and not kept.any():
        raise ValueError(f"none of `{name}` counts, by `mask` or `ignore_index`: expected some.")
    return (array if kept.all() else np.where(kept, array, 0).astype(array.dtype)), kept


def _prediction(
    arrays: dict[str, np.ndarray],
) -> tuple[Prediction, Callable[[np.ndarray, str], Tensor]]:
    """Return the prediction, and what makes an array of that name targets that fit it."""
    others = (*_TARGETS, "mask")
    values = {name: _numbers(array, name) for name, array in arrays.items() if name not in others}
    match values:
        case {"probs": probs}:
            probs = check_probs(probs, remedy="store raw outputs under the name `logits`")
            return ClassPrediction.from_probs(probs), partial(_labels, shape=tuple(probs.shape))
        case {"logits": logits}:
            log_probs = log_probs_from(None, logits)
            fitting = partial(_labels, shape=tuple(log_probs.shape))
            return Categorical().reduce(log_probs[None]), fitting
        case {"quantiles": quantiles, "levels": levels}:
            known = QuantilePrediction(_with_outputs(quantiles, 2), levels)
            return known, partial(_outcomes, like=known.centre)
    if tuple(values) in _LAWS:
        law = _LAWS[tuple(values)].of(
            **{name: _with_outputs(value, 1) for name, value in values.items()}
        )
        return law, partial(_outcomes, like=law.centre)
    mean = _with_outputs(values["mean"], 1)
    fitting = partial(_outcomes, like=mean)
    if "std" not in values:
        return PointPrediction(mean), fitting
    std = _in_shape(values["std"], "std", mean, "`mean`")
    if bool((std < 0).any()):
        raise ValueError(
            f"`std` holds {float(std.min()):.4g}, expected standard deviations of at least 0."
        )
    variance = std.double().square().to(at_least_float32(std).dtype)
    return GaussianPrediction(mean, variance), fitting


def _outcomes(array: np.ndarray, name: str, like: Tensor) -> Tensor:
    """Return numbers that fit predicted ones."""
    return _in_shape(_numbers(array, name), name, like, "the predicted numbers")


def _numbers(array: np.ndarray, name: str) -> Tensor:
    if array.dtype.kind not in _NUMBERS:
        raise ValueError(
            f"`{name}` has dtype {array.dtype}, expected real numbers: store "
            f"`{name}.astype(float)`."
        )
    # Whole numbers as well: torch cannot compare those of some dtypes.
    return as_tensor(array if array.dtype.kind == "f" else array.astype(float), name)


def _with_outputs(value: Tensor, place: int) -> Tensor:
    """Return numbers with outputs on dimension `place`, without which those of one may come."""
    return value.unsqueeze(place) if value.ndim == place else value


def _in_shape(value: Tensor, name: str, like: Tensor, of: str) -> Tensor:
    """Return finite numbers in the shape `(N, D, *positions)` of `like`, or `(N,)` for one."""
    check_finite(value, name)
    shape = tuple(like.shape)
    alone = shape[1:] == (1,) and value.shape != shape
    check_same_shape(value, name, shape[:1] if alone else shape, of)
    return _with_outputs(value, 1)


def _labels(array: np.ndarray, name: str, shape: tuple[int, ...]) -> Int[Tensor, "N *positions"]:
    """Return labels that fit predictions of `shape` `(N, C, *positions)`."""
    expected = f"class numbers 0 to {shape[1] - 1}"
    if array.dtype.kind not in _NUMBERS:
        raise ValueError(
            f"`{name}` has dtype {array.dtype}, expected {expected}: store for each name the "
            "column of its probabilities."
        )
    if array.shape == shape:
        raise ValueError(
            f"`{name}` has shape {shape}, a number for each class, expected {expected}: store "
            f"`{name}.argmax(1)`."
        )
    labels = as_tensor(array, name)
    if labels.is_floating_point():
        broken = labels[labels.frac() != 0]  # true of NaN too
        if len(broken):
            raise ValueError(
                f"`{name}` holds {float(broken[0]):.4g}, expected {expected}: leave out what has "
                "no label."
            )
        raise ValueError(
            f"`{name}` has dtype {array.dtype}, expected {expected} as integers: store "
            f"`{name}.astype(int)`."
        )
    return hard_labels(labels, shape, name=name)
