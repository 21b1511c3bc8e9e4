"""A prediction or plain arrays: what metrics and decisions take, made one."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, check_not_empty, check_same_shape
from duda.inputs import numbers, scores
from duda.predictions.base import Prediction
from duda.predictions.classes import ClassPrediction
from duda.predictions.gaussian import GaussianPrediction
from duda.predictions.numbers import NumberPrediction

__all__ = ["ClassesGiven", "NumbersGiven", "centres", "class_arrays", "number_prediction", "scored"]

ClassesGiven = Prediction | ArrayLike | None  # what may come as `probs`
NumbersGiven = Prediction | ArrayLike | None  # what may come as `mean`


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
    if isinstance(probs, ClassPrediction):
        return None, probs.log_probs
    if isinstance(probs, Prediction):
        raise TypeError(
            f"`probs` is a {type(probs).__name__}, expected a ClassPrediction or probabilities: "
            "this needs classes."
        )
    return probs, logits


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
    if isinstance(mean, NumberPrediction):
        if std is not None:
            raise TypeError(f"`std` comes with the {type(mean).__name__} already: leave it out.")
        check_not_empty(mean.centre, "mean")
        return mean, tuple(mean.centre.shape)
    if isinstance(mean, Prediction) or mean is None:
        raise TypeError(
            f"`mean` is a {type(mean).__name__}, expected a prediction of numbers, or means."
        )
    if std is None:
        raise TypeError(
            f"`std` is missing beside a {type(mean).__name__}, expected one for each mean, or a "
            "GaussianPrediction in place of both."
        )
    centre, spread = numbers(mean, "mean"), numbers(std, "std")
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
    if isinstance(mean, NumberPrediction):
        return mean.centre
    if isinstance(mean, Prediction) or mean is None:
        raise TypeError(
            f"`mean` is a {type(mean).__name__}, expected a prediction of numbers, or means."
        )
    return mean


def scored(source: Prediction | ArrayLike, name: str = "score") -> Float[Tensor, "N *rest"]:
    """Return the scores of a prediction, or numbers of one's own: checked, in float64.

    >>> scored(GaussianPrediction([[0.0]], [[4.0]]))
    tensor([[2.]], dtype=torch.float64)
    """
    return scores(source.score if isinstance(source, Prediction) else source, name).double()
