"""What uncertainty is for each kind of prediction, in words."""

from __future__ import annotations

from collections.abc import Mapping

from duda.predictions import (
    ClassPrediction,
    Prediction,
    QuantilePrediction,
    ScoredClassPrediction,
)

__all__ = ["score_meaning", "score_unit"]


def score_unit(prediction: Prediction, method: str) -> str:
    """Return what the score is called; scores that are called the same share their axis."""
    if isinstance(prediction, ScoredClassPrediction):
        return f"score of {method}"
    if isinstance(prediction, ClassPrediction):
        return "entropy (nats)"
    if isinstance(prediction, QuantilePrediction):
        return f"width of the {100 * prediction.widest_level:.3g} % interval"
    return "standard deviation"


def score_meaning(predictions: Mapping[str, Prediction]) -> str:
    """Return what uncertainty is, in a sentence or two.

    >>> import torch
    >>> from duda import GaussianPrediction
    >>> score_meaning({"net": GaussianPrediction(torch.zeros(1, 1), torch.ones(1, 1))})
    'Uncertainty is the predicted standard deviation, in units of the target.'
    """
    own = [m for m, each in predictions.items() if isinstance(each, ScoredClassPrediction)]
    others = [each for method, each in predictions.items() if method not in own]
    sentences = [_usual(others[0])] if others else []
    if own:
        *before, last = own
        names = f"{', '.join(before)} and {last}" if before else last
        sentences.append(
            f"For {names}, uncertainty is the method's own score, on a scale of its own; higher is "
            "less sure."
        )
    return " ".join(sentences)


def _usual(prediction: Prediction) -> str:
    if isinstance(prediction, ClassPrediction):
        return (
            "Uncertainty is the entropy of the predicted probabilities: 0 nats for one sure class, "
            "more the more evenly they are spread."
        )
    if isinstance(prediction, QuantilePrediction):
        return (
            "Uncertainty is the width of the widest interval between two predicted quantiles, in "
            "units of the target."
        )
    return "Uncertainty is the predicted standard deviation, in units of the target."
