"""Scores, losses, errors and hits: those of a prediction, or arrays as they came."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_same_shape
from duda.devices import on_exact_device
from duda.inputs import flags, numbers, scores, which_count
from duda.predictions import ClassPrediction, NumberPrediction, Prediction
from duda.predictions.given import (
    NumbersGiven,
    ScoresGiven,
    labels_given,
    prediction_given,
    targets_counted,
)

__all__ = [
    "checked_claims",
    "confidence_and_hits",
    "score_and_error",
    "score_and_flags",
    "score_and_loss",
    "scores_of_both",
    "std_and_error",
    "std_of",
]

_ROUNDING = 1e-3  # as far above one and below 0 as `check_probs` lets float16 round


def score_and_loss(
    score: ScoresGiven,
    loss: ArrayLike,
    name: str = "loss",
    ignore_index: int | None = None,
    mask: ArrayLike | None = None,
) -> tuple[ArrayLike, ArrayLike]:
    """Return scores and losses: those of a prediction when `y` came, or both as they are.

    Args:
        score: a prediction, or numbers.
        loss: what came true beside a prediction, else numbers.
        name: what errors call `loss`.
        ignore_index: the label of what does not count, beside a prediction.
        mask: of the scores' shape: which of them count.

    Raises:
        TypeError: if truth values came beside a prediction, such as whether it is wrong.
        ValueError: if what came true does not fit the prediction.

    >>> from duda import GaussianPrediction
    >>> score_and_loss(GaussianPrediction([[0.0]], [[4.0]]), [[3.0]])
    (tensor([[2.]], dtype=torch.float64), tensor([[9.]], dtype=torch.float64))
    """
    prediction = prediction_given(score, Prediction, "score")
    if prediction is None:
        _no_labels(ignore_index, name)
        return _kept(score, loss, ("score", name), mask)  # type: ignore[arg-type] # no prediction
    y, kept = targets_counted(prediction, _not_flags(loss, name, prediction), ignore_index, mask)
    which = None if kept is None else prediction.scores_of(kept)
    return _kept(prediction.score, prediction.loss(y), ("score", name), which)


def score_and_error(
    score: ScoresGiven,
    error: ArrayLike,
    ignore_index: int | None = None,
    mask: ArrayLike | None = None,
) -> tuple[ArrayLike, ArrayLike]:
    """Return scores and sizes of errors: of a prediction the roots of its losses, or as they are.

    Raises:
        TypeError: if truth values came beside a prediction.
        ValueError: if what came true does not fit the prediction.
    """
    values, loss = score_and_loss(score, error, "error", ignore_index, mask)
    prediction = prediction_given(score, Prediction, "score")
    return values, loss if prediction is None else as_tensor(loss, "error").sqrt()


def score_and_flags(
    score: ScoresGiven,
    is_bad: ArrayLike,
    ignore_index: int | None = None,
    mask: ArrayLike | None = None,
) -> tuple[ArrayLike, ArrayLike]:
    """Return scores, of a prediction or as they are, and which of them are bad.

    Raises:
        TypeError: if numbers came beside a prediction, and no `ignore_index` says that they are
            labels; or an `ignore_index` beside no prediction.
        ValueError: if labels do not fit the prediction.
    """
    flagged = as_tensor(is_bad, "is_bad")
    prediction = prediction_given(score, Prediction, "score")
    if prediction is None:
        _no_labels(ignore_index, "is_bad")
        return _kept(score, flagged, ("score", "is_bad"), mask)  # type: ignore[arg-type] # no prediction
    if ignore_index is not None:
        y, kept = targets_counted(prediction, flagged, ignore_index, mask)
        flagged, mask = prediction.is_bad(y), prediction.scores_of(kept)  # type: ignore[arg-type] # with an index some are kept
    if flagged.dtype is not torch.bool:
        raise TypeError(
            f"`is_bad` holds numbers beside a {type(prediction).__name__}, expected booleans, "
            "which are no targets: give `prediction.is_bad(y)`, or labels and `ignore_index`."
        )
    return _kept(prediction.score, flagged, ("score", "is_bad"), mask)


def scores_of_both(id_scores: ScoresGiven, ood_scores: ScoresGiven) -> tuple[ArrayLike, ArrayLike]:
    """Return the scores of two predictions that score alike, or numbers as they are.

    Raises:
        TypeError: if their scores are different ones.
    """
    one = prediction_given(id_scores, Prediction, "id_scores")
    other = prediction_given(ood_scores, Prediction, "ood_scores")
    if one is not None and other is not None and one.score_name != other.score_name:
        raise TypeError(
            f"`id_scores` scores by {one.score_name} and `ood_scores` by {other.score_name}, "
            "expected both alike: predict both with one model."
        )
    return id_scores if one is None else one.score, ood_scores if other is None else other.score  # type: ignore[return-value] # no predictions


def std_of(std: NumbersGiven, instead: str) -> ArrayLike:
    """Return standard deviations: those of a prediction, or as they are.

    Raises:
        TypeError: if a prediction has none: the sentence says what to call `instead`.
    """
    prediction = prediction_given(std, NumberPrediction, "std", "standard deviations", instead)
    if prediction is None:
        return std  # type: ignore[return-value] # no prediction
    prediction.check_can("std", instead=instead)
    return prediction.std


def std_and_error(
    std: NumbersGiven, error: ArrayLike, instead: str, mask: ArrayLike | None = None
) -> tuple[ArrayLike, ArrayLike]:
    """Return standard deviations and errors: of a prediction those of its mean, or as they are.

    Raises:
        TypeError: if a prediction has no standard deviation.
        ValueError: if what came true does not fit the prediction.
    """
    values = std_of(std, instead)
    prediction = prediction_given(std, NumberPrediction, "std")
    if prediction is None:
        return _kept(values, error, ("std", "error"), mask)
    y, kept = targets_counted(prediction, error, mask=mask)
    mean = on_exact_device(prediction.mean.detach()).double()
    return _kept(values, mean - numbers(y, "error", mean), ("std", "error"), kept)


def confidence_and_hits(
    confidence: ClassPrediction | ArrayLike,
    correct: ArrayLike,
    instead: str,
    ignore_index: int | None = None,
    mask: ArrayLike | None = None,
) -> tuple[ArrayLike, ArrayLike]:
    """Return confidences and whether they came true: a prediction's, or both as they are.

    Raises:
        TypeError: if a prediction is not of classes, or truth values came beside one.
        ValueError: if what came true does not fit the prediction.
    """
    prediction = prediction_given(confidence, ClassPrediction, "confidence", "numbers", instead)
    names = ("confidence", "correct")
    if prediction is None:
        _no_labels(ignore_index, "correct")
        return _kept(confidence, correct, names, mask)  # type: ignore[arg-type] # no prediction
    labels = _not_flags(correct, "correct", prediction)
    y, kept = targets_counted(prediction, labels, ignore_index, mask)
    return _kept(prediction.confidence, ~prediction.is_bad(y), names, kept)


def checked_claims(
    confidence: ClassPrediction | ArrayLike,
    correct: ArrayLike,
    ignore_index: int | None = None,
    mask: ArrayLike | None = None,
) -> tuple[Float[Tensor, "n"], Bool[Tensor, "n"]]:
    """Return confidences in float64, all in [0, 1] or it raises, and whether they came true."""
    of_numbers = "`evaluation.coverage(prediction, y)`"
    confidence, correct = confidence_and_hits(confidence, correct, of_numbers, ignore_index, mask)
    values = scores(confidence, "confidence").double()
    low, high = float(values.min()), float(values.max())
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise ValueError(
            f"`confidence` lies in [{low:.4g}, {high:.4g}], expected probabilities in [0, 1]."
        )
    right = flags(correct, "correct", values, "`confidence`").flatten()
    return values.flatten().clamp(min=0), right


def _kept(
    values: ArrayLike, others: ArrayLike, names: tuple[str, str], mask: ArrayLike | None
) -> tuple[ArrayLike, ArrayLike]:
    """Return both as they are, or where `mask` says that they count."""
    if mask is None:
        return values, others
    one = on_exact_device(as_tensor(values, names[0]))
    other = as_tensor(others, names[1]).to(one.device)
    check_same_shape(other, names[1], tuple(one.shape), f"`{names[0]}`")
    kept = which_count(mask, one, f"`{names[0]}`")
    return one[kept], other[kept]


def _no_labels(ignore_index: int | None, name: str) -> None:
    if ignore_index is not None:
        raise TypeError(
            f"`ignore_index` is {ignore_index} beside numbers, of which `{name}` holds no labels: "
            "give a prediction and its labels, or `mask=labels != ignore_index`."
        )


def _not_flags(y: ArrayLike, name: str, prediction: Prediction) -> Tensor:
    values = as_tensor(labels_given(prediction, y), name)
    if values.dtype == torch.bool:
        raise TypeError(
            f"`{name}` holds truth values beside a {type(prediction).__name__}, expected the "
            "targets `y`, from which it tells by itself: give them, or arrays in place of both."
        )
    return values
