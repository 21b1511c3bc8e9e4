"""Predictions or plain arrays: what metrics and decisions take, made one."""

from __future__ import annotations

from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_not_empty
from duda.inputs import numbers, scores, spreads
from duda.predictions.base import Prediction
from duda.predictions.classes import ClassPrediction
from duda.predictions.gaussian import GaussianPrediction
from duda.predictions.numbers import NumberPrediction

__all__ = [
    "ClassesGiven",
    "NumbersGiven",
    "ScoresGiven",
    "centres",
    "class_arrays",
    "confidence_and_hits",
    "number_prediction",
    "prediction_given",
    "score_and_loss",
    "score_of",
    "scored",
    "std_and_error",
    "std_of",
]

ClassesGiven = ClassPrediction | ArrayLike | None  # what may come as `probs`
NumbersGiven = NumberPrediction | ArrayLike  # what may come as `mean`
ScoresGiven = Prediction | ArrayLike  # what may come as `score`

P = TypeVar("P", bound=Prediction)


def prediction_given(
    source: Prediction | ArrayLike | None,
    kind: type[P],
    name: str,
    arrays: str = "arrays",
    instead: str = "",
) -> P | None:
    """Return a prediction as it is, and None for plain arrays or nothing.

    Args:
        source: what came as the argument.
        kind: `ClassPrediction`, `NumberPrediction`, or `Prediction` for any.
        name: of the argument.
        arrays: what may come in place of a prediction.
        instead: what to call with a prediction of another kind.

    Raises:
        TypeError: if it is a prediction of another kind.

    >>> prediction_given([0.5, 0.5], ClassPrediction, "probs") is None
    True
    """
    if isinstance(source, kind):
        return source
    if isinstance(source, Prediction):
        raise TypeError(
            f"`{name}` is a {type(source).__name__}, expected a {kind.__name__} or {arrays}"
            f"{instead and ': call '}{instead}."
        )
    return None


def class_arrays(
    probs: ClassesGiven, logits: ArrayLike | None, instead: str = ""
) -> tuple[ArrayLike | None, ArrayLike | None]:
    """Return just one of probabilities and logits; of a prediction its log-probabilities.

    Raises:
        TypeError: if both or neither are given, or a prediction of something else than classes.

    >>> class_arrays(ClassPrediction.from_probs([[0.5, 0.5]]), None)[1]
    tensor([[-0.6931, -0.6931]], dtype=torch.float64)
    """
    if (probs is None) == (logits is None):
        raise TypeError("give either `probs` or `logits=`, not both and not neither.")
    prediction = prediction_given(probs, ClassPrediction, "probs", "probabilities", instead)
    if prediction is not None:
        return None, prediction.log_probs
    return probs, logits  # type: ignore[return-value] # no prediction, as was asked above


def number_prediction(
    mean: NumbersGiven, std: ArrayLike | None = None, name: str = "mean", instead: str = ""
) -> tuple[NumberPrediction, tuple[int, ...]]:
    """Return a prediction, with one output for means `(N)`, and the shape that targets have.

    Raises:
        TypeError: if `std` is missing, or comes twice, or a prediction is not of numbers.
        ValueError: if shapes differ, or a standard deviation is below 0.

    >>> number_prediction([0.0, 1.0], [1.0, 1.0])
    (GaussianPrediction(mean=(2, 1), aleatoric=(2, 1), epistemic=(2, 1)), (2,))
    """
    prediction = prediction_given(mean, NumberPrediction, name, "means", instead)
    if prediction is not None:
        if std is not None:
            raise TypeError(f"`std` comes with the {type(mean).__name__} already: leave it out.")
        check_not_empty(prediction.centre, name)
        return prediction, tuple(prediction.centre.shape)
    if std is None:
        raise TypeError(
            f"`std` is missing beside a {type(mean).__name__}, expected one for each mean, or a "
            "GaussianPrediction in place of both."
        )
    centre = numbers(centres(mean, name), name)
    spread, shape = spreads(std, centre), tuple(centre.shape)
    if centre.ndim == 1:
        centre, spread = centre.unsqueeze(1), spread.unsqueeze(1)
    return GaussianPrediction(centre, spread.square()), shape


def centres(mean: NumbersGiven, name: str = "mean", instead: str = "") -> ArrayLike:
    """Return the numbers themselves: a prediction's centre, or means as they are.

    Raises:
        TypeError: if a prediction is not of numbers.
    """
    prediction = prediction_given(mean, NumberPrediction, name, "means", instead)
    if prediction is not None:
        return prediction.centre
    if mean is None:
        raise TypeError(f"`{name}` is missing, expected a NumberPrediction or means.")
    return mean  # type: ignore[return-value] # no prediction, as was asked above


def std_of(std: NumbersGiven, instead: str = "") -> ArrayLike:
    """Return standard deviations: those of a prediction, or as they are.

    Raises:
        TypeError: if a prediction has none.
    """
    prediction = prediction_given(std, NumberPrediction, "std", "standard deviations", instead)
    if prediction is None:
        return std  # type: ignore[return-value] # no prediction
    prediction.check_can("std", instead=instead)
    return prediction.std


def std_and_error(
    std: NumbersGiven, error: ArrayLike, instead: str = ""
) -> tuple[ArrayLike, ArrayLike]:
    """Return standard deviations and errors: those of a prediction's mean at `y`, or as they are.

    Raises:
        TypeError: if a prediction has no standard deviation.
        ValueError: if `y` does not fit the prediction.
    """
    spread = std_of(std, instead)
    prediction = prediction_given(std, NumberPrediction, "std")
    if prediction is not None:
        error = prediction.mean.detach().cpu().double() - prediction._finite_target(error)
    return spread, error


def score_of(source: ScoresGiven) -> ArrayLike:
    """Return the scores of a prediction, or numbers of one's own as they are."""
    prediction = prediction_given(source, Prediction, "score")
    return source if prediction is None else prediction.score  # type: ignore[return-value]


def scored(source: ScoresGiven, name: str = "score") -> Float[Tensor, "N *rest"]:
    """Return the scores of a prediction, or numbers of one's own: checked, in float64.

    >>> scored(GaussianPrediction([[0.0]], [[4.0]]))
    tensor([[2.]], dtype=torch.float64)
    """
    return scores(score_of(source), name).double()


def score_and_loss(score: ScoresGiven, loss: ArrayLike, name: str) -> tuple[ArrayLike, ArrayLike]:
    """Return scores and losses: those of a prediction when `y` came, or both as they are.

    Args:
        score: a prediction, or numbers.
        loss: what came true beside a prediction, else numbers.
        name: what errors call `loss`.

    Raises:
        TypeError: if truth values came beside a prediction, such as whether it is wrong.
        ValueError: if what came true does not fit the prediction.

    >>> score_and_loss(GaussianPrediction([[0.0]], [[4.0]]), [[3.0]], "loss")
    (tensor([[2.]], dtype=torch.float64), tensor([[9.]], dtype=torch.float64))
    """
    prediction = prediction_given(score, Prediction, "score")
    if prediction is None:
        return score, loss  # type: ignore[return-value] # no prediction
    return prediction.score, prediction.loss(_not_flags(loss, name, prediction))


def confidence_and_hits(
    confidence: ClassPrediction | ArrayLike, correct: ArrayLike, instead: str = ""
) -> tuple[ArrayLike, ArrayLike]:
    """Return confidences and whether they came true: a prediction's at `y`, or both as they are.

    Raises:
        TypeError: if a prediction is not of classes, or truth values came beside one.
        ValueError: if `y` does not fit the prediction.
    """
    prediction = prediction_given(
        confidence, ClassPrediction, "confidence", "probabilities of being right", instead
    )
    if prediction is None:
        return confidence, correct  # type: ignore[return-value] # no prediction
    wrong = prediction.is_bad(_not_flags(correct, "correct", prediction))
    return prediction.confidence, ~wrong


def _not_flags(y: ArrayLike, name: str, prediction: Prediction) -> Tensor:
    values = as_tensor(y, name)
    if values.dtype == torch.bool:
        raise TypeError(
            f"`{name}` holds truth values beside a {type(prediction).__name__}, expected the "
            "targets `y`, from which it tells by itself: give them, or arrays in place of both."
        )
    return values
