"""Out-of-distribution scores from a prediction: higher is more out-of-distribution.

All are called alike, `score(prediction)`, and listed in `PREDICTION_SCORES`. Those from logits or
from features are in `duda.detectors`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from jaxtyping import Float
from torch import Tensor

from duda.devices import on_exact_device
from duda.predictions import ClassPrediction, NumberPrediction, Prediction

__all__ = [
    "PREDICTION_SCORES",
    "entropy",
    "expected_entropy",
    "margin",
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
    return _of_classes(prediction).entropy


def mutual_information(prediction: Prediction) -> Float[Tensor, "N *positions"]:
    """Return the mutual information of label and draw, nats: how far the draws disagree.

    Source: Houlsby et al. 2011 (BALD).

    >>> mutual_information(ClassPrediction.from_probs([[0.5, 0.5]]))
    tensor([0.], dtype=torch.float64)
    """
    return _of_classes(prediction).epistemic


def expected_entropy(prediction: Prediction) -> Float[Tensor, "N *positions"]:
    """Return the mean over draws of their entropies, nats.

    >>> expected_entropy(ClassPrediction.from_probs([[0.5, 0.5], [1.0, 0.0]]))
    tensor([0.6931, 0.0000], dtype=torch.float64)
    """
    return _of_classes(prediction).aleatoric


def max_probability(prediction: Prediction) -> Float[Tensor, "N *positions"]:
    """Return one minus the probability of the most probable class (Hendrycks & Gimpel 2017).

    >>> max_probability(ClassPrediction.from_probs([[0.75, 0.25]]))
    tensor([0.2500], dtype=torch.float64)
    """
    return 1 - _of_classes(prediction).confidence


def margin(prediction: Prediction) -> Float[Tensor, "N *positions"]:
    """Return one minus the gap between the two largest probabilities.

    >>> margin(ClassPrediction.from_probs([[0.75, 0.25]]))
    tensor([0.5000], dtype=torch.float64)
    """
    return 1 - _of_classes(prediction).margin


def variation_ratio(prediction: Prediction) -> Float[Tensor, "N *positions"]:
    """Return the share of draws whose first class is not the most frequent one (Freeman 1965).

    >>> variation_ratio(ClassPrediction.from_probs([[0.75, 0.25]]))
    tensor([0.], dtype=torch.float64)
    """
    return _of_classes(prediction).variation_ratio


def std(prediction: Prediction) -> Float[Tensor, "N *rest"]:
    """Return the standard deviation, of what the prediction is about.

    Of numbers: that of each output `(N, D, *positions)`, in units of the target. Of classes: that
    of a class's probability over the draws, averaged over classes, `(N, *positions)`; mean STD in
    Gal et al. 2017.

    Raises:
        ValueError: if the draws of classes were not kept.
    """
    if prediction.can("std"):
        return cast(NumberPrediction, prediction).std
    draws = _of_classes(prediction).draws
    if draws is None:
        raise ValueError(
            "`prediction` holds no draws to take the standard deviation of: predict with "
            "`keep_draws=True`."
        )
    return on_exact_device(draws).double().std(0, correction=0).mean(1)


PREDICTION_SCORES: dict[str, Callable[[Prediction], Tensor]] = {
    "entropy": entropy,
    "mutual-information": mutual_information,
    "expected-entropy": expected_entropy,
    "max-probability": max_probability,
    "margin": margin,
    "variation-ratio": variation_ratio,
    "std": std,
}


def _of_classes(prediction: Prediction) -> ClassPrediction:
    if not prediction.can("log_probs"):
        raise TypeError(
            f"`prediction` is a {type(prediction).__name__}, expected a ClassPrediction: use `std` "
            "for one of numbers."
        )
    return cast(ClassPrediction, prediction)
