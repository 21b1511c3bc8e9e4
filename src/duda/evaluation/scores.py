"""Accuracy, negative log-likelihood, Brier score and RMSE: one number for a whole prediction."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_same_shape
from duda.devices import on_exact_device
from duda.evaluation.numbers import compared
from duda.evaluation.rows import LabelledRows, Rows
from duda.inputs import numbers, which_count
from duda.predictions.given import ClassesGiven, NumbersGiven, centres

__all__ = ["accuracy", "brier", "density_nll", "mae", "nll", "rmse", "rps"]


def accuracy(
    probs: ClassesGiven = None,
    y: ArrayLike | None = None,
    *,
    logits: ArrayLike | None = None,
    ignore_index: int | None = None,
) -> float:
    """Return the share of examples whose most probable class, the first among equals, is `y`.

    Args:
        probs: a prediction, or `(N, C, *positions)`; every position counts as an example.
        y: integer labels `(N, *positions)`.
        logits: in place of `probs`.
        ignore_index: the label of positions to leave out.

    Raises:
        ValueError: if shapes differ, a label is not in 0 to C - 1, or there is NaN.

    >>> accuracy([[0.7, 0.3], [0.4, 0.6]], [0, 0])
    0.5
    """
    rows = LabelledRows(probs, y, logits, ignore_index, votes=False)
    return _mean(rows.total(Rows.hits))


def nll(
    probs: ClassesGiven = None,
    y: ArrayLike | None = None,
    *,
    logits: ArrayLike | None = None,
    ignore_index: int | None = None,
) -> float:
    """Return the mean negative log-likelihood of the labels, in nats; lower is better.

    A label that was given probability 0 makes it +inf. From `logits`, or of a prediction, it is
    exact however sure the network is.

    Args:
        probs: a prediction, or `(N, C, *positions)`; every position counts as an example.
        y: integer labels `(N, *positions)`, or soft ones, shares of votes in the shape of `probs`,
            for their cross-entropy.
        logits: in place of `probs`.
        ignore_index: the label of positions to leave out.

    >>> round(nll(y=[0, 1], logits=[[0.0, 0.0], [0.0, 0.0]]), 4)
    0.6931
    """
    return _mean(LabelledRows(probs, y, logits, ignore_index).total(Rows.log_losses))


def brier(
    probs: ClassesGiven = None,
    y: ArrayLike | None = None,
    *,
    logits: ArrayLike | None = None,
    ignore_index: int | None = None,
) -> float:
    """Return the mean squared distance to the labels, a sum over classes: 0 is best, 2 worst.

    Some libraries give half of it or the mean over classes. `brier_parts` tells what it is made of.
    Source: Brier 1950, eq. 2.

    Args:
        probs: a prediction, or `(N, C, *positions)`; every position counts as an example.
        y: integer labels `(N, *positions)`, or soft ones, shares of votes in the shape of `probs`.
        logits: in place of `probs`.
        ignore_index: the label of positions to leave out.

    >>> brier([[1.0, 0.0], [1.0, 0.0]], [0, 1])
    1.0
    """
    return _mean(LabelledRows(probs, y, logits, ignore_index).total(Rows.squared_distances))


def rps(
    probs: ClassesGiven = None,
    y: ArrayLike | None = None,
    *,
    logits: ArrayLike | None = None,
    ignore_index: int | None = None,
) -> float:
    """Return the mean ranked probability score, of classes in an order: 0 is best, C - 1 worst.

    It is Σ (F_k - 1{y <= k})² over k, with F_k the probability of at most class k, so that a far
    class costs more than a near one. Some libraries divide it by C - 1. Source: Epstein 1969;
    Gneiting & Raftery 2007, section 4.2, whose CRPS it is for whole numbers.

    Args:
        probs: a prediction, or `(N, C, *positions)`; every position counts as an example.
        y: integer labels `(N, *positions)`, or soft ones, shares of votes in the shape of `probs`.
        logits: in place of `probs`.
        ignore_index: the label of positions to leave out.

    >>> rps([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]], [1, 2])
    1.5
    """
    return _mean(LabelledRows(probs, y, logits, ignore_index).total(Rows.ranked_distances))


def rmse(mean: NumbersGiven, y: ArrayLike, *, mask: ArrayLike | None = None) -> float:
    """Return the root of the mean squared error over all examples and outputs, in units of `y`.

    Args:
        mean: a prediction, whose `centre` is compared, or numbers of any shape.
        y: of the same shape.
        mask: of `y`'s shape: which targets count. Where it is False `y` may be NaN.

    Raises:
        TypeError: for a prediction of classes.
        ValueError: if the shapes differ, or there are NaN, infinite or no numbers.

    >>> rmse([[1.0], [2.0]], [[1.0], [4.0]]) == 2**0.5
    True
    """
    return math.sqrt(_errors(mean, y, mask).square().mean())


def mae(mean: NumbersGiven, y: ArrayLike, *, mask: ArrayLike | None = None) -> float:
    """Return the mean absolute error over all examples and outputs, in units of `y`.

    Args:
        mean: a prediction, whose `centre` is compared, or numbers of any shape.
        y: of the same shape.
        mask: of `y`'s shape: which targets count. Where it is False `y` may be NaN.

    Raises:
        TypeError: for a prediction of classes.
        ValueError: if the shapes differ, or there are NaN, infinite or no numbers.

    >>> mae([[1.0], [2.0]], [[1.0], [4.0]])
    1.0
    """
    return float(_errors(mean, y, mask).abs().mean())


def density_nll(
    prediction: NumbersGiven,
    y: ArrayLike,
    *,
    std: ArrayLike | None = None,
    mask: ArrayLike | None = None,
) -> float:
    """Return the mean negative log-density of numbers `y`, over examples and outputs, in nats.

    It is in `y`'s units: with y times k, each output gains log k. Of the exact mixture where the
    prediction kept its draws. A target that a standard deviation of 0 missed makes it +inf.

    Args:
        prediction: with a `log_prob`; or means, of Gaussians.
        y: of the same shape.
        std: one for each of the means.
        mask: of `y`'s shape: which targets count. Where it is False `y` may be NaN.

    Raises:
        TypeError: for a prediction without density, such as one of quantiles.
        ValueError: if `y` has not the mean's shape, holds NaN or infinite values, or a standard
            deviation of 0 hit it: the density is infinite there, and would outweigh all else.

    >>> round(density_nll([0.0], [0.0], std=[1.0]), 4)
    0.9189
    """
    found = compared(prediction, y, std, mask, instead="`evaluation.nll(prediction, y)`")
    found.prediction.check_can("log_prob", instead="`evaluation.pinball(prediction, y)` or `crps`")
    log_density = found.each(lambda rows, values: rows.log_prob(values))
    infinite = int((log_density == math.inf).sum())
    if infinite:
        raise ValueError(
            f"`prediction` has an infinite density at {infinite} targets, where its standard "
            "deviation is 0: give the likelihood a larger floor."
        )
    return -float(log_density.mean())


def _errors(mean: NumbersGiven, y: ArrayLike, mask: ArrayLike | None) -> Float[Tensor, "K"]:
    """Return how far each target that counts is from what is predicted."""
    given = centres(mean, instead="`evaluation.accuracy(prediction, y)`")
    means = on_exact_device(as_tensor(given, "mean"))
    targets = as_tensor(y, "y").to(means.device)
    check_same_shape(targets, "y", tuple(means.shape), "the predicted mean")
    if mask is not None:
        kept = which_count(mask, targets, "`y`")
        means, targets = means[kept], targets[kept]
    return numbers(means, "mean") - numbers(targets, "y")


def _mean(total: tuple[float, int]) -> float:
    return total[0] / total[1]
