"""Predictions or plain arrays: what metrics and decisions take, made one."""

from __future__ import annotations

from typing import TypeVar

from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, check_not_empty, check_same_shape
from duda.inputs import numbers, scores
from duda.predictions.base import Prediction
from duda.predictions.classes import ClassPrediction
from duda.predictions.gaussian import GaussianPrediction
from duda.predictions.numbers import NumberPrediction

__all__ = [
    "ClassesGiven",
    "NumbersGiven",
    "centres",
    "class_arrays",
    "number_prediction",
    "prediction_given",
    "scored",
]

ClassesGiven = Prediction | ArrayLike | None  # what may come as `probs`
NumbersGiven = Prediction | ArrayLike | None  # what may come as `mean`

P = TypeVar("P", bound=Prediction)


def prediction_given(
    source: Prediction | ArrayLike | None, kind: type[P], name: str, arrays: str = "arrays"
) -> P | None:
    """Return a prediction as it is, and None for plain arrays or nothing.

    Args:
        source: what came as the argument.
        kind: `ClassPrediction`, `NumberPrediction`, or `Prediction` for any.
        name: of the argument.
        arrays: what may come in place of a prediction.

    Raises:
        TypeError: if it is a prediction of another kind.

    >>> prediction_given([0.5, 0.5], ClassPrediction, "probs") is None
    True
    """
    if isinstance(source, kind):
        return source
    if isinstance(source, Prediction):
        raise TypeError(
            f"`{name}` is a {type(source).__name__}, expected a {kind.__name__} or {arrays}."
        )
    return None


def class_arrays(
    probs: ClassesGiven, logits: ArrayLike | None
) -> tuple[ArrayLike | None, ArrayLike | None]:
    """Return just one of probabilities and logits; of a prediction its log-probabilities.

    Raises:
        TypeError: if both or neither are given, or a prediction of something else than classes.

    >>> class_arrays(ClassPrediction.from_probs([[0.5, 0.5]]), None)[1]
    tensor([[-0.6931, -0.6931]], dtype=torch.float64)
    """
    if (probs is None) == (logits is None):
        raise TypeError("give either `probs` or `logits=`, not both and not neither.")
    prediction = prediction_given(probs, ClassPrediction, "probs", "probabilities")
    if prediction is not None:
        return None, prediction.log_probs
    return probs, logits  # type: ignore[return-value] # no prediction, as was asked above


def number_prediction(
    mean: NumbersGiven, std: ArrayLike | None = None
) -> tuple[NumberPrediction, tuple[int, ...]]:
    """Return a prediction, with one output for means `(N)`, and the shape that targets have.

    Raises:
        TypeError: if `std` is missing, or comes twice, or a prediction is not of numbers.
        ValueError: if shapes differ, or a standard deviation is below 0.

    >>> number_prediction([0.0, 1.0], [1.0, 1.0])
    (GaussianPrediction(mean=(2, 1), aleatoric=(2, 1), epistemic=(2, 1)), (2,))
    """
    prediction = prediction_given(mean, NumberPrediction, "mean", "means")
    if prediction is not None:
        if std is not None:
            raise TypeError(f"`std` comes with the {type(mean).__name__} already: leave it out.")
        check_not_empty(prediction.centre, "mean")
        return prediction, tuple(prediction.centre.shape)
    if std is None:
        raise TypeError(
            f"`std` is missing beside a {type(mean).__name__}, expected one for each mean, or a "
            "GaussianPrediction in place of both."
        )
    centre, spread = numbers(centres(mean), "mean"), numbers(std, "std")
    shape = tuple(centre.shape)
    check_same_shape(spread, "std", shape, "`mean`")
    if float(spread.min()) < 0:
        raise ValueError(
            f"`std` holds {float(spread.min()):.4g}, expected standard deviations of at least 0."
        )
    if centre.ndim == 1:
        centre, spread = centre.unsqueeze(1), spread.unsqueeze(1)
    return GaussianPrediction(centre, spread.square()), shape


def centres(mean: NumbersGiven) -> ArrayLike:
    """Return the numbers themselves: a prediction's centre, or means as they are.

    Raises:
        TypeError: if a prediction is not of numbers.
    """
    prediction = prediction_given(mean, NumberPrediction, "mean", "means")
    if prediction is not None:
        return prediction.centre
    if mean is None:
        raise TypeError("`mean` is missing, expected a NumberPrediction or means.")
    return mean  # type: ignore[return-value] # no prediction, as was asked above


def scored(source: Prediction | ArrayLike, name: str = "score") -> Float[Tensor, "N *rest"]:
    """Return the scores of a prediction, or numbers of one's own: checked, in float64.

    >>> scored(GaussianPrediction([[0.0]], [[4.0]]))
    tensor([[2.]], dtype=torch.float64)
    """
    prediction = prediction_given(source, Prediction, name)
    value = source if prediction is None else prediction.score
    return scores(value, name).double()  # type: ignore[arg-type] # no prediction, as was asked
