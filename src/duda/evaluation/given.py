"""Scores, losses, errors and hits: those of a prediction, or arrays as they came."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor
from duda.inputs import flags, numbers, scores
from duda.predictions import ClassPrediction, NumberPrediction, Prediction
from duda.predictions.given import NumbersGiven, ScoresGiven, prediction_given

__all__ = [
    "checked_claims",
    "confidence_and_hits",
    "score_and_error",
    "score_and_loss",
    "scores_of_both",
    "std_and_error",
    "std_of",
]

_ROUNDING = 1e-3  # as far above one as `duda.checks.check_probs` lets float16 round


def score_and_loss(
    score: ScoresGiven, loss: ArrayLike, name: str = "loss"
) -> tuple[ArrayLike, ArrayLike]:
    """Return scores and losses: those of a prediction when `y` came, or both as they are.

    Args:
        score: a prediction, or numbers.
        loss: what came true beside a prediction, else numbers.
        name: what errors call `loss`.

    Raises:
        TypeError: if truth values came beside a prediction, such as whether it is wrong.
        ValueError: if what came true does not fit the prediction.

    >>> from duda import GaussianPrediction
    >>> score_and_loss(GaussianPrediction([[0.0]], [[4.0]]), [[3.0]])
    (tensor([[2.]], dtype=torch.float64), tensor([[9.]], dtype=torch.float64))
    """
    prediction = prediction_given(score, Prediction, "score")
    if prediction is None:
        return score, loss  # type: ignore[return-value] # no prediction
    return prediction.score, prediction.loss(_not_flags(loss, name, prediction))


def score_and_error(score: ScoresGiven, error: ArrayLike) -> tuple[ArrayLike, ArrayLike]:
    """Return scores and sizes of errors: of a prediction the roots of its losses, or as they are.

    Raises:
        TypeError: if truth values came beside a prediction.
        ValueError: if what came true does not fit the prediction.
    """
    values, loss = score_and_loss(score, error, "error")
    return values, loss if values is score else as_tensor(loss, "error").sqrt()


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


def std_and_error(std: NumbersGiven, error: ArrayLike, instead: str) -> tuple[ArrayLike, ArrayLike]:
    """Return standard deviations and errors: of a prediction those of its mean, or as they are.

    Raises:
        TypeError: if a prediction has no standard deviation.
        ValueError: if what came true does not fit the prediction.
    """
    values = std_of(std, instead)
    prediction = prediction_given(std, NumberPrediction, "std")
    if prediction is None:
        return values, error
    mean = prediction.mean.detach().cpu().double()
    return values, mean - numbers(error, "error", mean)


def confidence_and_hits(
    confidence: ClassPrediction | ArrayLike, correct: ArrayLike, instead: str
) -> tuple[ArrayLike, ArrayLike]:
    """Return confidences and whether they came true: a prediction's, or both as they are.

    Raises:
        TypeError: if a prediction is not of classes, or truth values came beside one.
        ValueError: if what came true does not fit the prediction.
    """
    prediction = prediction_given(confidence, ClassPrediction, "confidence", "numbers", instead)
    if prediction is None:
        return confidence, correct  # type: ignore[return-value] # no prediction
    wrong = prediction.is_bad(_not_flags(correct, "correct", prediction))
    return prediction.confidence, ~wrong


def checked_claims(
    confidence: ClassPrediction | ArrayLike, correct: ArrayLike
) -> tuple[Float[Tensor, "n"], Bool[Tensor, "n"]]:
    """Return confidences in float64, all in [0, 1] or it raises, and whether they came true."""
    of_numbers = "`evaluation.coverage(prediction, y)`"
    confidence, correct = confidence_and_hits(confidence, correct, of_numbers)
    values = scores(confidence, "confidence").double()
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1 + _ROUNDING:
        raise ValueError(
            f"`confidence` lies in [{low:.4g}, {high:.4g}], expected probabilities in [0, 1]."
        )
    return values.flatten(), flags(correct, "correct", values, "`confidence`").flatten()


def _not_flags(y: ArrayLike, name: str, prediction: Prediction) -> Tensor:
    values = as_tensor(y, name)
    if values.dtype == torch.bool:
        raise TypeError(
            f"`{name}` holds truth values beside a {type(prediction).__name__}, expected the "
            "targets `y`, from which it tells by itself: give them, or arrays in place of both."
        )
    return values
