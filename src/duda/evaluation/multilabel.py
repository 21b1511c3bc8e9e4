"""Multi-label metrics: F1, precision, recall, average precision, Hamming and subset loss."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from duda.checks import ArrayLike
from duda.devices import on_exact_device
from duda.evaluation.curves import average_precision
from duda.evaluation.ties import tied_runs
from duda.inputs import flags
from duda.predictions import BernoulliPrediction
from duda.predictions.given import prediction_given, targets_counted
from duda.shown import Shown

__all__ = ["LabelScores", "multilabel"]


@dataclass(frozen=True, eq=False, repr=False)
class LabelScores(Shown):
    """How well each of L labels is found, in counts over examples and positions.

    A ratio of nothing, such as the recall of a label that never holds, is NaN, and means over
    labels leave it out. Source: Zhang & Zhou 2014, section 2.2.

    Args:
        found: `(L)`, how often a label holds and is predicted, int64.
        missed: how often it holds and is not predicted.
        false_alarms: how often it is predicted and does not hold.
        counted: how often it is known.
        average_precision: area below its precision-recall curve, whatever the threshold.
        subset_accuracy: share of examples, or positions, of which all known labels are right.
    """

    headline = ("macro_f1", "micro_f1", "mean_average_precision", "hamming_loss", "subset_accuracy")

    found: Int[Tensor, "L"]
    missed: Int[Tensor, "L"]
    false_alarms: Int[Tensor, "L"]
    counted: Int[Tensor, "L"]
    average_precision: Float[Tensor, "L"]
    subset_accuracy: float

    @property
    def precision(self) -> Float[Tensor, "L"]:
        """Share of what is predicted that holds."""
        return self.found.double() / (self.found + self.false_alarms)

    @property
    def recall(self) -> Float[Tensor, "L"]:
        """Share of what holds that is predicted."""
        return self.found.double() / (self.found + self.missed)

    @property
    def f1(self) -> Float[Tensor, "L"]:
        """Harmonic mean of precision and recall."""
        return 2 * self.found.double() / (2 * self.found + self.missed + self.false_alarms)

    @property
    def macro_f1(self) -> float:
        """Mean of the labels' F1."""
        return float(self.f1.nanmean())

    @property
    def micro_f1(self) -> float:
        """F1 of all labels together, in which frequent ones count more."""
        found = 2 * int(self.found.sum())
        wrong = int(self.missed.sum() + self.false_alarms.sum())
        return found / (found + wrong) if found + wrong else float("nan")

    @property
    def mean_average_precision(self) -> float:
        """Mean of the labels' average precision (mAP)."""
        return float(self.average_precision.nanmean())

    @property
    def hamming_loss(self) -> float:
        """Share of known labels that are predicted wrong."""
        return int(self.missed.sum() + self.false_alarms.sum()) / int(self.counted.sum())


def multilabel(
    prediction: BernoulliPrediction | ArrayLike,
    y: ArrayLike,
    *,
    threshold: float | Float[Tensor, "L"] = 0.5,
    ignore_index: int | None = None,
    mask: ArrayLike | None = None,
) -> LabelScores:
    """Return how well each label is found.

    Args:
        prediction: of several labels, or probabilities `(N, L, *positions)`.
        y: 0 or 1 for each, of that shape.
        threshold: the probability from which on a label is predicted, for all labels or for each.
        ignore_index: the value of labels that nobody knows.
        mask: of the shape of `y`: which labels count.

    Raises:
        TypeError: if a prediction is none of several labels.
        ValueError: if shapes differ, something is neither 0 nor 1, or nothing counts.

    >>> multilabel([[0.9, 0.2], [0.6, 0.7]], [[1, 0], [0, 1]]).f1
    tensor([0.6667, 1.0000], dtype=torch.float64)
    """
    answer = prediction_given(prediction, BernoulliPrediction, "prediction", "probabilities")
    if answer is None:
        answer = BernoulliPrediction.from_probs(prediction)  # type: ignore[arg-type] # no prediction
    targets, kept = targets_counted(answer, y, ignore_index, mask)
    probs = on_exact_device(answer.probs.detach()).double()
    true = flags(targets, "y", probs, "the predicted labels")
    known = torch.ones_like(true) if kept is None else kept
    said = on_exact_device(answer.labels_at(threshold)) == 1
    right = ((said == true) | ~known).all(1)[known.any(1)]
    columns = zip(*(_by_label(each) for each in (probs, true, known)), strict=True)
    some = [(p, t) if kept is None else (p[k], t[k]) for p, t, k in columns]
    precision = [_average_precision(*each) for each in some]
    return LabelScores(
        _counts(said & true & known),
        _counts(~said & true & known),
        _counts(said & ~true & known),
        _counts(known),
        torch.stack(precision).cpu(),
        float(right.double().mean()),
    )


def _by_label(values: Tensor) -> Tensor:
    """Return `(N, L, *positions)` as `(L, N * positions)`."""
    return values.movedim(1, 0).flatten(1)


def _counts(which: Bool[Tensor, "N L *positions"]) -> Int[Tensor, "L"]:
    return _by_label(which).sum(1).cpu()


def _average_precision(probs: Float[Tensor, "n"], true: Bool[Tensor, "n"]) -> Float[Tensor, ""]:
    """Return the average precision of one label; NaN where it never holds."""
    if not len(true):
        return torch.full((), torch.nan, dtype=torch.float64, device=probs.device)
    runs = tied_runs(probs, descending=True)
    return average_precision(runs.cumulated(true.long()), runs.cumulated((~true).long()))
