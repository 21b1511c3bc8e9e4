"""Verdicts on methods, in plain words: is the doubt honest, and what is it worth."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from duda import evaluation
from duda.evaluation import Coverage
from duda.predictions import ClassPrediction, NumberPrediction
from duda.reporting.chance import p_value_of_count
from duda.reporting.evidence import IGNORED, Evidence

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
        headline, good, first = _confidence(evidence, evidence.of_classes[method])
    else:
        headline, good, first = _intervals(evidence, evidence.of_numbers[method])
    sentences = [first, _refusal(evidence, method)]
    if evidence.ood:
        sentences.append(_noticed(evidence, method))
    return Verdict(headline, good, tuple(sentences))


def _confidence(evidence: Evidence, prediction: ClassPrediction) -> tuple[str, bool, str]:
    bins = evaluation.reliability(prediction, evidence.labels, ignore_index=IGNORED)
    count = int(bins.counts.sum())
    right = float(bins.hits.sum()) / count
    surplus = float((bins.confidence_sums - bins.hits).sum())
    confidence = prediction.confidence[evidence.counted]
    chance = p_value_of_count(confidence, int(bins.hits.sum()))
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


def _intervals(evidence: Evidence, prediction: NumberPrediction) -> tuple[str, bool, str]:
    level = prediction.widest_level
    wide = evaluation.coverage(prediction, evidence.y, [level], mask=evidence.counted)
    held = float(wide.observed)
    says = f"Its {100 * level:.3g} % intervals hold {100 * held:.1f} % of the values"
    others = evaluation.coverage(prediction, evidence.y, mask=evidence.counted)
    if _chance(wide, 0) < _SURE:
        return _off(level, held, others, says)
    if others.p_value() < _SURE:
        worst = int((others.observed - others.levels).abs().argmax())
        told = f"{says}, but {_at(others, worst)}."
        return f"right at {100 * level:.3g} % only", False, told
    return "as sure as it should be", True, f"{says}; chance explains the difference."


def _off(level: float, held: float, others: Coverage, says: str) -> tuple[str, bool, str]:
    """Return what to say where the widest intervals are off: others may be off the other way."""
    narrow = held < level
    other_way = (others.observed - others.levels) * (1 if narrow else -1)
    worst = int(other_way.argmax())
    # The worst of many may be off by chance (Bonferroni).
    if float(other_way[worst]) <= 0 or _chance(others, worst) * len(other_way) >= _SURE:
        return ("over-confident" if narrow else "under-confident"), False, f"{says}."
    words = ("too sure", "too cautious") if narrow else ("too cautious", "too sure")
    levels = (100 * level, 100 * float(others.levels[worst]))
    headline = ", ".join(f"{word} at {at:.3g} %" for word, at in zip(words, levels, strict=True))
    return headline, False, f"{says}, but {_at(others, worst)}."


def _chance(found: Coverage, place: int) -> float:
    """Return how often intervals that keep their promise hold as unlikely a number of values."""
    promised = torch.full((found.total,), float(found.levels[place]))
    return p_value_of_count(promised, int(found.inside[place]))


def _at(found: Coverage, place: int) -> str:
    promised, held = (100 * float(each[place]) for each in (found.levels, found.observed))
    return f"those that should hold {promised:.3g} % hold {held:.1f} %"


def _refusal(evidence: Evidence, method: str) -> str:
    removed = removed_by_refusing(evidence.scores[method], evidence.losses[method], _REFUSED)
    if removed is None:
        return "There are no errors here that refusing could remove."
    what = "errors" if evidence.of_classes else "squared error"
    return (
        f"Refusing the {100 * _REFUSED:.0f} % most uncertain removes {100 * removed:.0f} % of the "
        f"{what}."
    )


def _noticed(evidence: Evidence, method: str) -> str:
    own, other = evidence.scores[method], evidence.ood[method].score.flatten()
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
