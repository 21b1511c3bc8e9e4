"""Threshold explorer: what each threshold of the score would accept, refuse and let through."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.decisions import Gate
from duda.reporting.evidence import Evidence
from duda.reporting.images import data_uri
from duda.reporting.scores import score_label
from duda.thinning import thinned

__all__ = ["Explorer", "Steps", "explorer", "steps"]

_MOST_STEPS = 400
_MOST_PICTURES = 24  # of each method
# Written as a user would type them; those that need no label come first.
_PRESETS: dict[str, tuple[str, Callable[[], Gate]]] = {
    "keep 95 %": ("Gate.keep(0.95)", lambda: Gate.keep(0.95)),
    "1 % false alarms": ("Gate.false_alarm(0.01)", lambda: Gate.false_alarm(0.01)),
    "1 % errors": ("Gate.risk(0.01)", lambda: Gate.risk(0.01)),
    "5 % errors": ("Gate.risk(0.05)", lambda: Gate.risk(0.05)),
    "an error costs 20 questions": (
        "Gate.cost(error=20, asking=1)",
        lambda: Gate.cost(error=20, asking=1),
    ),
}


@dataclass(frozen=True, eq=False)
class Steps:
    """What thresholds do, the lowest first, which accepts nothing.

    Args:
        thresholds: scores up to each are accepted; -inf first.
        accepted: how many of the N test examples.
        lost: the sum of their losses: wrong answers, or squared errors.
        ood: how many out-of-distribution inputs are accepted; none without any.
    """

    thresholds: Float[Tensor, "K"]
    accepted: Int[Tensor, "K"]
    lost: Float[Tensor, "K"]
    ood: Int[Tensor, "K"] | None


@dataclass(frozen=True, eq=False)
class Explorer:
    """What the page needs to move a threshold for one method after the other.

    Args:
        methods: by name, as JSON values: steps, presets, and the pictures to look at.
        pictures: data URIs of test pictures by their number.
        examples: how many test examples there are.
        ood: how many out-of-distribution inputs; 0 for none.
        ood_name: where they come from.
        classes: whether losses are wrong answers, else squared errors.
    """

    methods: Mapping[str, Mapping[str, Any]]
    pictures: Mapping[int, str]
    examples: int
    ood: int
    ood_name: str
    classes: bool

    @property
    def presets(self) -> list[str]:
        """The names of the presets, which all methods have."""
        return list(next(iter(self.methods.values()))["presets"])

    @property
    def json(self) -> str:
        """All of it as JSON that cannot end the script it stands in."""
        content = {
            # In a list, since a browser would put names that look like numbers first.
            "methods": [{"name": name, **of} for name, of in self.methods.items()],
            "pictures": self.pictures,
            "examples": self.examples,
            "ood": self.ood,
            "oodName": self.ood_name,
            "classes": self.classes,
        }
        return json.dumps(content, allow_nan=False).replace("<", "\\u003c")


def steps(
    score: Float[Tensor, "N"],
    loss: Float[Tensor, "N"],
    ood: Float[Tensor, "F"] | None,
    wanted: Sequence[float] = (),
) -> Steps:
    """Return the steps at each distinct score, thinned evenly by their number if they are many.

    Args:
        score: of the test examples.
        loss: of the same.
        ood: scores of out-of-distribution inputs.
        wanted: thresholds that have a step of their own in any case.

    >>> found = steps(torch.tensor([0.1, 0.3, 0.3]), torch.tensor([0.0, 1.0, 0.0]), None)
    >>> found.accepted.tolist(), found.lost.tolist()
    ([0, 1, 3], [0.0, 0.0, 1.0])
    """
    score, loss = score.double(), loss.double()
    distinct = torch.unique(score)
    always = torch.tensor([-math.inf, *wanted], dtype=torch.float64)
    chosen = torch.unique(torch.cat([always, distinct[thinned(len(distinct), _MOST_STEPS)]]))
    ascending, order = score.sort()
    accepted = torch.searchsorted(ascending, chosen, right=True)
    lost = torch.cat([loss.new_zeros(1), loss[order].cumsum(0)])
    other = None
    if ood is not None:
        other = torch.searchsorted(ood.double().sort().values, chosen, right=True)
    return Steps(chosen, accepted, lost[accepted], other)


def explorer(evidence: Evidence) -> Explorer | None:
    """Return what moves thresholds, or None where an example has no single score."""
    first = next(iter(evidence.predictions.values()))
    if first.score.numel() != len(first):
        return None
    methods = {method: _method(evidence, method) for method in evidence.predictions}
    x = evidence.inputs
    looked_at = {each["index"] for of in methods.values() for each in of["looks"]}
    return Explorer(
        methods=methods,
        pictures={} if x is None else {index: data_uri(x[index]) for index in sorted(looked_at)},
        examples=len(first),
        ood=len(next(iter(evidence.ood.values()))) if evidence.ood else 0,
        ood_name=evidence.ood_name,
        classes=bool(evidence.of_classes),
    )


def _method(evidence: Evidence, method: str) -> dict[str, Any]:
    """Return what the page knows of one method."""
    prediction = evidence.predictions[method]
    score = prediction.score.flatten()
    other = evidence.ood[method].score.flatten() if evidence.ood else None
    presets = _presets(score, evidence.wrong(method), other)
    wanted = [float(each["threshold"]) for each in presets.values() if "threshold" in each]
    found = steps(score, evidence.losses[method], other, wanted)
    return {
        "unit": score_label(prediction, method),
        "thresholds": [_number(value) for value in found.thresholds.tolist()],
        "accepted": found.accepted.tolist(),
        "lost": found.lost.tolist(),
        "ood": None if found.ood is None else found.ood.tolist(),
        "presets": presets,
        "looks": [] if evidence.inputs is None else _to_look_at(evidence, method),
    }


def _presets(score: Tensor, wrong: Tensor | None, ood: Tensor | None) -> dict[str, dict[str, Any]]:
    """Return each gate that can be fitted, and of the others why they cannot.

    The threshold of a gate is the highest score that it accepts, of all there are and infinity.
    """
    known = torch.cat([score.double(), *([] if ood is None else [ood.double()])])
    asked = torch.cat([known, known.new_tensor([math.inf])])
    found: dict[str, dict[str, Any]] = {}
    for name, (code, make) in _PRESETS.items():
        gate = make()
        if gate.guarantee.needs_bad and wrong is None:
            continue  # how large an error of a number is bad, nobody has said
        try:
            gate.fit(score, is_bad=wrong)
        except ValueError as error:
            found[name] = {"refused": str(error)}
            continue
        accepted = asked[gate(asked).accepted]
        found[name] = {
            "threshold": _number(float(accepted.max()) if len(accepted) else -math.inf),
            "code": f"duda.{code}",
            "summary": gate.summary(),
        }
    return found


def _to_look_at(evidence: Evidence, method: str) -> list[dict[str, Any]]:
    """Return what is shown of the examples that thresholds refuse: of the less sure half.

    Most are of those that are refused first, since few thresholds refuse the others.
    """
    prediction, loss = evidence.of_classes[method], evidence.losses[method]
    score = prediction.score
    order = score.argsort(stable=True)[len(score) // 2 :]
    from_the_top = torch.linspace(0, 1, _MOST_PICTURES, dtype=torch.float64) ** 3
    places = (from_the_top * (len(order) - 1)).round().long()
    many = len(order) - 1 - torch.unique(places).flip(0)
    if len(order) <= _MOST_PICTURES:
        many = torch.arange(len(order))
    labels, confidence = prediction.labels, prediction.confidence
    return [
        {
            "index": index,
            "score": _number(float(score[index])),
            "says": f"{evidence.classes[int(labels[index])]} "
            f"{100 * float(confidence[index]):.0f} %",
            "wrong": bool(loss[index] > 0),
        }
        for index in order[many].tolist()
    ]


def _number(value: float) -> float | str:
    """Return what JSON has for a number; it has no infinity."""
    return value if math.isfinite(value) else ("inf" if value > 0 else "-inf")
