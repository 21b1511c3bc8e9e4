"""Scores in words: what the uncertainty of each method is, as its prediction says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from duda.predictions import Prediction

__all__ = ["by_words", "listed", "score_label", "score_meaning"]


def score_label(prediction: Prediction, method: str) -> str:
    """Return what the score is called, with its unit; those called the same share their axis.

    >>> from duda import ClassPrediction
    >>> score_label(ClassPrediction.from_probs([[0.9, 0.1]]), "net")
    'entropy (nats)'
    """
    name, unit = prediction.score_name, prediction.score_unit
    return f"{name} ({unit})" if unit else f"{name} of {method}"


def score_meaning(predictions: Mapping[str, Prediction]) -> str:
    """Return what uncertainty is, in a sentence for each kind of score.

    >>> from duda import GaussianPrediction
    >>> score_meaning({"net": GaussianPrediction([[0.0]], [[1.0]])})
    'Uncertainty is the predicted standard deviation, in units of the target.'
    """
    # A score on a scale of its own is no usual one, and told with the names of its methods.
    usual = next((each.score_meaning for each in predictions.values() if each.score_unit), None)
    kinds = by_words({method: each.score_meaning for method, each in predictions.items()})
    return " ".join(
        f"Uncertainty is {meaning}."
        if meaning == usual
        else f"For {listed(methods)}, uncertainty is {meaning}."
        for meaning, methods in sorted(kinds.items(), key=lambda kind: kind[0] != usual)
    )


def by_words(words: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the methods that share each saying, in order.

    >>> by_words({"a": "the mean", "b": "the median", "c": "the mean"})
    {'the mean': ['a', 'c'], 'the median': ['b']}
    """
    found: dict[str, list[str]] = {}
    for method, saying in words.items():
        found.setdefault(saying, []).append(method)
    return found


def listed(methods: Sequence[str]) -> str:
    """Return names as a sentence lists them.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    *before, last = methods
    return f"{', '.join(before)} and {last}" if before else last
