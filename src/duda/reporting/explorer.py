"""The threshold explorer: what each threshold of the score would accept, refuse and let through."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import ArrayLike
from duda.decisions import Gate
from duda.predictions import ClassPrediction, Prediction
from duda.reporting.losses import loss_of
from duda.reporting.per_class import class_names
from duda.reporting.pictures import data_uri, is_pictures
from duda.reporting.scores import score_unit
from duda.thinning import thinned

__all__ = ["Explorer", "Steps", "explorer", "steps"]

_MOST_STEPS = 400
_MOST_PICTURES = 24  # of each method
# Written as a user would type them; those that need no label come first.
_PRESETS: dict[str, tuple[str, Gate]] = {
    "keep 95 %": ("Gate.keep(0.95)", Gate.keep(0.95)),
    "1 % false alarms": ("Gate.false_alarm(0.01)", Gate.false_alarm(0.01)),
    "1 % errors": ("Gate.risk(0.01)", Gate.risk(0.01)),
    "5 % errors": ("Gate.risk(0.05)", Gate.risk(0.05)),
    "an error costs 20 questions": ("Gate.cost(error=20, asking=1)", Gate.cost(error=20, asking=1)),
}


@dataclass(frozen=True, eq=False)
class Steps:
    """What thresholds do, the lowest first, which accepts nothing.

    Args:
        thresholds: scores up to each are accepted; -inf first.
        accepted: how many of the N test examples.
        lost: the sum of their losses: wrong answers, or squared errors.
        foreign: how many inputs from elsewhere are accepted; none without any.
    """

    thresholds: Float[Tensor, "K"]
    accepted: Int[Tensor, "K"]
    lost: Float[Tensor, "K"]
    foreign: Int[Tensor, "K"] | None


@dataclass(frozen=True, eq=False)
class Explorer:
    """What the page needs to move a threshold for one method after the other.

    Args:
        methods: by name, as JSON values: steps, presets, and the pictures to look at.
        pictures: data URIs of test pictures by their number.
        examples: how many test examples there are.
        foreign: how many inputs from elsewhere; 0 for none.
        foreign_name: where they come from.
        classes: whether losses are wrong answers, else squared errors.
    """

    methods: Mapping[str, Mapping[str, Any]]
    pictures: Mapping[int, str]
    examples: int
    foreign: int
    foreign_name: str
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
            "foreign": self.foreign,
            "foreignName": self.foreign_name,
            "classes": self.classes,
        }
        return json.dumps(content, allow_nan=False).replace("<", "\\u003c")


def steps(
    score: Float[Tensor, "N"],
    loss: Float[Tensor, "N"],
    foreign: Float[Tensor, "F"] | None,
    wanted: Sequence[float] = (),
) -> Steps:
    """Return the steps at each distinct score, thinned evenly by their number if they are many.

    Args:
        score: of the test examples.
        loss: of the same.
        foreign: scores of inputs from elsewhere.
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
    if foreign is not None:
        other = torch.searchsorted(foreign.double().sort().values, chosen, right=True)
    return Steps(chosen, accepted, lost[accepted], other)


def explorer(
    predictions: Mapping[str, Prediction],
    y: ArrayLike,
    foreign: Mapping[str, Prediction],
    foreign_name: str,
    x: Tensor | None,
    classes: Sequence[str],
) -> Explorer | None:
    """Return what moves thresholds, or None where an example has no single score.

    Args:
        predictions: by method.
        y: labels or targets.
        foreign: predictions for inputs from elsewhere by method; may be empty.
        foreign_name: where these come from.
        x: the test inputs, whose pictures are shown if they are any.
        classes: names by label.
    """
    first = next(iter(predictions.values()))
    if first.score.numel() != len(first):
        return None
    shown: dict[int, str] = {}
    methods = {}
    for method, prediction in predictions.items():
        score = prediction.score.flatten().cpu()
        loss = loss_of(prediction, y).flatten()
        other = foreign[method].score.flatten().cpu() if foreign else None
        presets = _presets(prediction, score, loss, other)
        wanted = [float(each["threshold"]) for each in presets.values() if "threshold" in each]
        found = steps(score, loss, other, wanted)
        looks = []
        if isinstance(prediction, ClassPrediction) and x is not None and is_pictures(x):
            looks = _to_look_at(prediction, score, loss, classes)
            shown |= {each["index"]: data_uri(x[each["index"]]) for each in looks}
        methods[method] = {
            "unit": score_unit(prediction, method),
            "thresholds": [_number(value) for value in found.thresholds.tolist()],
            "accepted": found.accepted.tolist(),
            "lost": found.lost.tolist(),
            "foreign": None if found.foreign is None else found.foreign.tolist(),
            "presets": presets,
            "looks": looks,
        }
    return Explorer(
        methods=methods,
        pictures=shown,
        examples=len(first),
        foreign=len(next(iter(foreign.values()))) if foreign else 0,
        foreign_name=foreign_name,
        classes=isinstance(first, ClassPrediction),
    )


def _presets(
    prediction: Prediction, score: Tensor, loss: Tensor, foreign: Tensor | None
) -> dict[str, dict[str, Any]]:
    """Return each gate that can be fitted, and of the others why they cannot.

    The threshold of a gate is the highest score that it accepts, of all there are and infinity.
    """
    known = torch.cat([score.double(), *([] if foreign is None else [foreign.double()])])
    asked = torch.cat([known, known.new_tensor([math.inf])])
    classes = isinstance(prediction, ClassPrediction)
    found: dict[str, dict[str, Any]] = {}
    for name, (code, gate) in _PRESETS.items():
        if gate.guarantee.needs_bad and not classes:
            continue  # how large an error of a number is bad, nobody has said
        try:
            fitted = copy.deepcopy(gate).fit(score, is_bad=loss > 0 if classes else None)
        except ValueError as error:
            found[name] = {"refused": str(error)}
            continue
        accepted = asked[fitted(asked).accepted]
        found[name] = {
            "threshold": _number(float(accepted.max()) if len(accepted) else -math.inf),
            "code": f"duda.{code}",
            "summary": fitted.summary(),
        }
    return found


def _to_look_at(
    prediction: ClassPrediction, score: Tensor, loss: Tensor, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """Return what is shown of the examples that thresholds refuse: of the less sure half.

    Most are of those that are refused first, since few thresholds refuse the others.
    """
    order = score.argsort(stable=True)[len(score) // 2 :]
    from_the_top = torch.linspace(0, 1, _MOST_PICTURES, dtype=torch.float64) ** 3
    places = (from_the_top * (len(order) - 1)).round().long()
    many = len(order) - 1 - torch.unique(places).flip(0)
    if len(order) <= _MOST_PICTURES:
        many = torch.arange(len(order))
    names = class_names(prediction, classes)
    labels, confidence = prediction.labels.cpu(), prediction.confidence.cpu()
    return [
        {
            "index": index,
            "score": _number(float(score[index])),
            "says": f"{names[int(labels[index])]} {100 * float(confidence[index]):.0f} %",
            "wrong": bool(loss[index] > 0),
        }
        for index in order[many].tolist()
    ]


def _number(value: float) -> float | str:
    """Return what JSON has for a number; it has no infinity."""
    return value if math.isfinite(value) else ("inf" if value > 0 else "-inf")
