"""Predictions or plain arrays: what metrics and decisions take, made one."""

from __future__ import annotations

from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_not_empty, check_same_shape, check_whole
from duda.devices import exact_device
from duda.inputs import numbers, scores, spreads, which_count
from duda.predictions.base import Prediction
from duda.predictions.bernoulli import BernoulliPrediction
from duda.predictions.classes import ClassPrediction
from duda.predictions.gaussian import GaussianPrediction
from duda.predictions.joint import JointPrediction
from duda.predictions.numbers import NumberPrediction

__all__ = [
    "ClassesGiven",
    "NumbersGiven",
    "ScoresGiven",
    "centres",
    "class_arrays",
    "class_labels_given",
    "labels_given",
    "like_given",
    "number_prediction",
    "prediction_given",
    "score_of",
    "scored",
    "targets_counted",
]

ClassesGiven = ClassPrediction | BernoulliPrediction | ArrayLike | None  # what may come as `probs`
NumbersGiven = NumberPrediction | ArrayLike  # what may come as `mean`
ScoresGiven = Prediction | ArrayLike  # what may come as `score`

P = TypeVar("P", bound=Prediction)
Y = TypeVar("Y")


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
    if kind is ClassPrediction and isinstance(source, BernoulliPrediction):
        return source.as_classes()  # type: ignore[return-value] # of this kind
    if isinstance(source, Prediction):
        known = isinstance(source, ClassPrediction | NumberPrediction)  # to whom `instead` applies
        remedy = f": call {instead}" if instead and known else ""
        if isinstance(source, JointPrediction) and kind is not Prediction:
            remedy = f": {source.one_by_one}"
        raise TypeError(
            f"`{name}` is a {type(source).__name__}, expected a {kind.__name__} or "
            f"{arrays}{remedy}."
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


def labels_given(source: object, y: Y) -> Y | Tensor:
    """Return labels as numbers, where they are names that a prediction knows its classes by.

    Raises:
        ValueError: if they are classes beside a prediction of several labels.
    """
    if isinstance(source, ClassPrediction | BernoulliPrediction):
        return source.numbers_of(y)  # type: ignore[arg-type] # whatever labels are
    return y


def class_labels_given(source: object, y: Y) -> Y | Tensor:
    """Return labels as `labels_given` does, those beside several labels as of `as_classes`."""
    if isinstance(source, BernoulliPrediction):
        return source.class_numbers_of(y)  # type: ignore[arg-type] # whatever labels are
    return labels_given(source, y)


def like_given(source: object, classes: ClassPrediction) -> ClassPrediction | BernoulliPrediction:
    """Return a prediction of classes that was made of `source` as one of its kind."""
    return source.with_labels(classes) if isinstance(source, BernoulliPrediction) else classes


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


def targets_counted(
    prediction: Prediction,
    y: ArrayLike,
    ignore_index: int | None = None,
    mask: ArrayLike | None = None,
) -> tuple[Shaped[Tensor, "N *rest"], Bool[Tensor, "N *rest"] | None]:
    """Return targets, where the prediction is, and which of them count, None where all do.

    What is predicted stands in for those that do not, whatever they were: NaN, or no class.

    Args:
        prediction: of classes or of numbers.
        y: labels `(N, *positions)`, or targets of the shape of the centre.
        ignore_index: the label of what does not count.
        mask: of `y`'s shape: what counts.

    Raises:
        TypeError: if `ignore_index` came beside a prediction of numbers.
        ValueError: if shapes differ, or nothing counts.

    >>> targets_counted(ClassPrediction.from_probs([[0.9, 0.1], [0.2, 0.8]]), [0, 255], 255)
    (tensor([0, 1]), tensor([ True, False]))
    """
    place = exact_device(prediction.device)
    values = as_tensor(labels_given(prediction, y), "y").to(place)
    if ignore_index is None and mask is None:
        return values, None
    labels = getattr(prediction, "labels", None)
    if labels is None and ignore_index is not None:
        raise TypeError(
            f"`ignore_index` is {ignore_index} beside a {type(prediction).__name__}, expected it "
            "with labels: leave numbers out by `mask`."
        )
    answer = prediction.centre if labels is None else labels  # type: ignore[attr-defined] # of numbers
    answer = answer.detach().to(place)
    check_same_shape(values, "y", tuple(answer.shape), "what is predicted")
    values = values if values.is_floating_point() else values.long()  # which torch can compare
    kept = which_count(mask, values, "`y`")
    if ignore_index is not None:
        kept = kept & (values != check_whole(ignore_index, "ignore_index"))
        if not bool(kept.any()):
            raise ValueError(
                f"`y` is `ignore_index` {ignore_index} wherever it counts, expected at least one "
                "other label."
            )
    return torch.where(kept, values, answer), kept
