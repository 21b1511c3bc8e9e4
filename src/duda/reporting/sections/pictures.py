"""Pictures by uncertainty: the most and the least uncertain, confident mistakes, the hardest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.predictions import ClassPrediction
from duda.reporting.evidence import Evidence
from duda.reporting.images import data_uri
from duda.reporting.page import Claim, Picture, Section, Strip

__all__ = ["extremes", "pictures", "section"]

_PICTURES = 8  # in a row
_CLAIMS = 2  # probabilities below each picture
_BELOW = "Below each picture are its two highest probabilities"


def section(evidence: Evidence) -> list[Section]:
    """Return the sections of test pictures and of out-of-distribution ones, if there are any."""
    found = []
    if evidence.inputs is not None:
        found += _of_test(evidence, evidence.inputs)
    if evidence.ood_inputs is not None:
        x, name = evidence.ood_inputs, evidence.ood_name
        doubted, trusted = _both_ends(evidence.ood_of_classes, x, evidence.classes)
        found += [
            Section(
                f"Most uncertain: {name}",
                f"{_BELOW}. No class is right here, so doubt is.",
                strips=doubted,
            ),
            Section(
                f"Least uncertain: {name}",
                f"{_BELOW}. No class is right here: confidence is a fault.",
                strips=trusted,
            ),
        ]
    return found


def _of_test(evidence: Evidence, x: Tensor) -> list[Section]:
    predictions, names, y = evidence.of_classes, evidence.classes, evidence.y
    doubted, trusted = _both_ends(predictions, x, names, y)
    mistakes = _confident_mistakes(evidence, x)
    sections = [
        Section(
            "Most uncertain: test pictures",
            f"{_BELOW}; a cross marks a wrong answer, with the right one. Would you be sure of "
            "these?",
            strips=doubted,
        ),
        Section(
            "Least uncertain: test pictures", f"{_BELOW}. These should be easy.", strips=trusted
        ),
        Section(
            "Confident mistakes: test pictures",
            "Wrong answers given with the highest confidence: what no threshold will catch.",
            strips=mistakes,
        ),
        Section(
            "Hardest: test pictures",
            "The right class got the least probability here, on average over the methods (the mean "
            "log-likelihood). Some may be labeled wrongly.",
            strips=[_hardest(predictions, y, x, names)],
        ),
    ]
    return [each for each in sections if each.strips]


def _both_ends(
    predictions: Mapping[str, ClassPrediction],
    x: Tensor,
    names: Sequence[str],
    y: Tensor | None = None,
) -> tuple[list[Strip], list[Strip]]:
    """Return the most and the least uncertain pictures of each method."""
    doubted, trusted = [], []
    for method, prediction in predictions.items():
        unsure, sure = extremes(prediction.score, _PICTURES)
        doubted.append(Strip(method, pictures(x, prediction, unsure, names, y)))
        trusted.append(Strip(method, pictures(x, prediction, sure, names, y)))
    return doubted, trusted


def _confident_mistakes(evidence: Evidence, x: Tensor) -> list[Strip]:
    strips = []
    for method, prediction in evidence.of_classes.items():
        wrong = evidence.losses[method].nonzero().flatten()
        sure = wrong[prediction.confidence[wrong].argsort(descending=True, stable=True)]
        if len(sure):
            shown = pictures(x, prediction, sure[:_PICTURES], evidence.classes, evidence.y)
            strips.append(Strip(method, shown))
    return strips


def _hardest(
    predictions: Mapping[str, ClassPrediction], y: Tensor, x: Tensor, names: Sequence[str]
) -> Strip:
    log_probs = [each.log_probs.double() for each in predictions.values()]
    together = ClassPrediction.from_probs(torch.stack(log_probs).exp().mean(0))
    truth = y.long()[:, None]
    loss = -torch.stack([each.gather(1, truth)[:, 0] for each in log_probs]).mean(0)
    hardest = loss.argsort(descending=True, stable=True)[:_PICTURES]
    return Strip("", pictures(x, together, hardest, names, y))


def extremes(score: Float[Tensor, "N"], count: int) -> tuple[Int[Tensor, "K"], Int[Tensor, "K"]]:
    """Return the numbers of the most uncertain and of the surest examples; the first among equals.

    >>> extremes(torch.tensor([0.2, 0.9, 0.1]), 1)
    (tensor([1]), tensor([2]))
    """
    order = torch.argsort(score, stable=True)
    return torch.argsort(score, stable=True, descending=True)[:count], order[:count]


def pictures(
    x: Float[Tensor, "N C H W"],
    prediction: ClassPrediction,
    chosen: Int[Tensor, "K"],
    names: Sequence[str],
    y: Int[Tensor, "N"] | None = None,
) -> list[Picture]:
    """Return the chosen pictures with what the prediction says of them."""
    top = prediction.probs.topk(min(_CLAIMS, len(names)), dim=1)
    shown = []
    for index in chosen.tolist():
        labels, values = top.indices[index].tolist(), top.values[index].tolist()
        truth = None if y is None else int(y[index])
        shown.append(
            Picture(
                data_uri(x[index]),
                tuple(Claim(names[c], p) for c, p in zip(labels, values, strict=True)),
                "" if truth is None or truth == labels[0] else names[truth],
            )
        )
    return shown
