"""Verdicts on methods, in plain words: is the doubt honest, and what is it worth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from duda import evaluation
from duda.predictions import ClassPrediction, NumberPrediction
from duda.reporting.chance import p_value_of_count
from duda.reporting.evidence import Evidence

__all__ = ["Verdict", "removed_by_refusing", "verdicts"]

_REFUSED = 0.05  # of the examples, the least sure
_SURE = 0.05  # a chance below which a difference is not put down to chance


@dataclass(frozen=True)
class Verdict:
    """What to say first of a method.

    Args:
        headline: in two or three words, such as "over-confident".
        good: whether it is as it should be.
        sentences: what that rests on, and what the doubt is good for.
    """

    headline: str
    good: bool
    sentences: tuple[str, ...]


def verdicts(evidence: Evidence) -> dict[str, Verdict]:
    """Return a verdict on each method.

    >>> answer = ClassPrediction.from_probs([[0.99, 0.01]] * 20)
    >>> found = verdicts(Evidence.of({"net": answer}, [0, 1] * 10))["net"]
    >>> found.headline, found.sentences[0]
    ('over-confident', 'Says 99 %, is right 50 % of the time.')
    """
    return {method: _verdict(evidence, method) for method in evidence.predictions}


def removed_by_refusing(
    score: Float[Tensor, "N"], loss: Float[Tensor, "N"], share: float
) -> float | None:
    """Return which part of the summed loss goes if `share` of the examples do, the least sure.

    Where the last of them is one of several with the same score it is drawn at random. None if
    there is no loss to remove.

    >>> removed_by_refusing(torch.tensor([0.1, 0.2, 0.9, 0.3]), torch.tensor([0.0, 0, 1, 1]), 0.25)
    0.5
    """
    curve = evaluation.selective(score, loss)
    lost = curve.generalized_risks
    if float(lost[-1]) == 0:
        return None
    kept = curve.coverages
    above = int(torch.searchsorted(kept, torch.tensor(1 - share, dtype=kept.dtype)))
    high, low = kept[above], kept[max(above - 1, 0)]
    weight = float((1 - share - low) / (high - low)) if high > low else 1.0
    left = torch.lerp(lost[max(above - 1, 0)], lost[above], weight)
    return 1 - float(left / lost[-1])


def _verdict(evidence: Evidence, method: str) -> Verdict:
    if evidence.of_classes:
        headline, good, first = _confidence(evidence.of_classes[method], evidence.y)
    else:
        headline, good, first = _intervals(evidence.of_numbers[method], evidence.y)
    sentences = [first, _refusal(evidence, method)]
    if evidence.ood:
        sentences.append(_noticed(evidence, method))
    return Verdict(headline, good, tuple(sentences))


def _confidence(prediction: ClassPrediction, y: Tensor) -> tuple[str, bool, str]:
    bins = evaluation.reliability(prediction, y)
    count = int(bins.counts.sum())
    right = float(bins.hits.sum()) / count
    surplus = float((bins.confidence_sums - bins.hits).sum())
    chance = p_value_of_count(prediction.confidence.flatten(), int(bins.hits.sum()))
    if chance < _SURE:
        says = _says(right + surplus / count, right, most_digits=6)
        return ("over-confident" if surplus > 0 else "under-confident"), False, f"{says}."
    says = _says(right + surplus / count, right, most_digits=1)
    band = bins.null_band()
    if band.p_value < _SURE:
        told = (
            f"{says}, but not for the same examples: ECE {bins.ece:.3f}, by chance {band.mean:.3f}."
        )
        return "right on average only", False, told
    return "as sure as it should be", True, f"{says}; chance explains the difference."


def _intervals(prediction: NumberPrediction, y: Tensor) -> tuple[str, bool, str]:
    level = prediction.widest_level
    wide = evaluation.coverage(prediction, y, [level])
    held = float(wide.observed)
    says = f"Its {100 * level:.3g} % intervals hold {100 * held:.1f} % of the values"
    if p_value_of_count(torch.full((wide.total,), level), int(wide.inside)) < _SURE:
        return ("over-confident" if held < level else "under-confident"), False, f"{says}."
    others = evaluation.coverage(prediction, y)
    if others.p_value() < _SURE:
        worst = int((others.observed - others.levels).abs().argmax())
        promised, found = (100 * float(each[worst]) for each in (others.levels, others.observed))
        told = f"{says}, but those that should hold {promised:.3g} % hold {found:.1f} %."
        return f"right at {100 * level:.3g} % only", False, told
    return "as sure as it should be", True, f"{says}; chance explains the difference."


def _refusal(evidence: Evidence, method: str) -> str:
    score = evidence.predictions[method].score.flatten()
    removed = removed_by_refusing(score, evidence.losses[method], _REFUSED)
    if removed is None:
        return "There are no errors here that refusing could remove."
    what = "errors" if evidence.of_classes else "squared error"
    return (
        f"Refusing the {100 * _REFUSED:.0f} % most uncertain removes {100 * removed:.0f} % of the "
        f"{what}."
    )


def _noticed(evidence: Evidence, method: str) -> str:
    own, other = evidence.predictions[method].score.flatten(), evidence.ood[method].score.flatten()
    threshold = evaluation.ood(own, other).threshold_in
    noticed = float((other > threshold).double().mean())
    return f"At 5 % false alarms it notices {100 * noticed:.0f} % of out-of-distribution inputs."


def _says(confidence: float, accuracy: float, most_digits: int) -> str:
    """Return both as shares of 100, with as few decimals as tell them apart."""
    for digits in range(most_digits + 1):
        says, is_right = (f"{100 * share:.{digits}f} %" for share in (confidence, accuracy))
        if says != is_right:
            break
    return f"Says {says}, is right {is_right} of the time"
