"""Scores of how foreign an input is, from a prediction or from logits; higher is more foreign.

Those from a prediction are called alike, `score(prediction)`, and listed in `PREDICTION_SCORES`.
Those from features have to be fitted first: see `duda.evaluation.feature_scores`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor
from duda.inputs import class_log_probs
from duda.predictions import ClassPrediction, LocationScalePrediction, Prediction

__all__ = [
    "PREDICTION_SCORES",
    "energy",
    "entropy",
    "expected_entropy",
    "margin",
    "max_logit",
    "max_probability",
    "mutual_information",
    "std",
    "variation_ratio",
]


def entropy(prediction: Prediction) -> Float[Tensor, "N *positions"]:
    """Return the entropy of the mean probabilities, nats.

    >>> entropy(ClassPrediction.from_probs([[0.5, 0.5], [1.0, 0.0]]))
    tensor([0.6931, 0.0000], dtype=torch.float64)
    """
    return _of_classes(prediction).entropy.cpu()


def mutual_information(prediction: Prediction) -> Float[Tensor, "N *positions"]:
    """Return the mutual information of label and draw, nats: how far the draws disagree.

    Source: Houlsby et al. 2011 (BALD).

    >>> mutual_information(ClassPrediction.from_probs([[0.5, 0.5]]))
    tensor([0.], dtype=torch.float64)
    """
    return _of_classes(prediction).epistemic.cpu()


def expected_entropy(prediction: Prediction) -> Float[Tensor, "N *positions"]:
    """Return the mean over draws of their entropies, nats.

    >>> expected_entropy(ClassPrediction.from_probs([[0.5, 0.5], [1.0, 0.0]]))
    tensor([0.6931, 0.0000], dtype=torch.float64)
    """
    return _of_classes(prediction).aleatoric.cpu()


def max_probability(prediction: Prediction) -> Float[Tensor, "N *positions"]:
    """Return one minus the probability of the most probable class (Hendrycks & Gimpel 2017).

    >>> max_probability(ClassPrediction.from_probs([[0.75, 0.25]]))
    tensor([0.2500], dtype=torch.float64)
    """
    return 1 - _of_classes(prediction).confidence.cpu()


def margin(prediction: Prediction) -> Float[Tensor, "N *positions"]:
    """Return one minus the gap between the two largest probabilities.

    >>> margin(ClassPrediction.from_probs([[0.75, 0.25]]))
    tensor([0.5000], dtype=torch.float64)
    """
    return 1 - _of_classes(prediction).margin.cpu()


def variation_ratio(prediction: Prediction) -> Float[Tensor, "N *positions"]:
    """Return the share of draws whose first class is not the most frequent one (Freeman 1965).

    >>> variation_ratio(ClassPrediction.from_probs([[0.75, 0.25]]))
    tensor([0.], dtype=torch.float64)
    """
    return _of_classes(prediction).variation_ratio.cpu()


def std(prediction: Prediction) -> Float[Tensor, "N *rest"]:
    """Return the standard deviation, of what the prediction is about.

    Of numbers: that of each output `(N, D, *positions)`, in units of the target. Of classes: that
    of a class's probability over the draws, averaged over classes, `(N, *positions)`; mean STD in
    Gal et al. 2017.

    Raises:
        ValueError: if the draws of classes were not kept.
    """
    if isinstance(prediction, LocationScalePrediction):
        return prediction.std.cpu()
    draws = _of_classes(prediction).draws
    if draws is None:
        raise ValueError(
            "`prediction` holds no draws to take the standard deviation of: predict with "
            "`keep_draws=True`."
        )
    return draws.cpu().double().std(0, correction=0).mean(1)


PREDICTION_SCORES: dict[str, Callable[[Prediction], Tensor]] = {
    "entropy": entropy,
    "mutual-information": mutual_information,
    "expected-entropy": expected_entropy,
    "max-probability": max_probability,
    "margin": margin,
    "variation-ratio": variation_ratio,
    "std": std,
}


def energy(logits: ArrayLike, *, temperature: float = 1.0) -> Float[Tensor, "N *positions"]:
    """Return the energy −T log Σ exp(logit / T) of logits `(N, C, *positions)`.

    What all logits share, which softmax forgets, counts. Source: Liu et al. 2020.

    Raises:
        ValueError: if `temperature` is not above 0, or `logits` hold NaN or no classes.

    >>> energy([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]], temperature=2.0)
    tensor([-4.3605, -2.1972], dtype=torch.float64)
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"`temperature` is {temperature}, expected a finite number above 0.")
    return -temperature * (_logits(logits) / temperature).logsumexp(1)


def max_logit(logits: ArrayLike) -> Float[Tensor, "N *positions"]:
    """Return minus the largest of logits `(N, C, *positions)` (Hendrycks et al. 2022).

    Raises:
        ValueError: if `logits` hold NaN or no classes.

    >>> max_logit([[1.0, 2.0, 3.0]])
    tensor([-3.], dtype=torch.float64)
    """
    return -_logits(logits).amax(1)


def _of_classes(prediction: Prediction) -> ClassPrediction:
    if not isinstance(prediction, ClassPrediction):
        raise TypeError(
            f"`prediction` is a {type(prediction).__name__}, expected a ClassPrediction: use `std` "
            "for one of numbers."
        )
    return prediction


def _logits(logits: ArrayLike) -> Float[Tensor, "N C *positions"]:
    class_log_probs(None, logits)  # asks of them what every metric does
    return as_tensor(logits, "logits").cpu().double()
