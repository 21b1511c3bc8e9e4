"""Metrics of a prediction, from what each example adds to them: of all, or of any draw of these."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from duda.checks import ArrayLike, check_not_empty, check_same_shape, nearest
from duda.evaluation.bins import Bins
from duda.predictions import Prediction
from duda.predictions.given import targets_counted
from duda.predictions.terms import Terms
from duda.reporting.evidence import checked
from duda.reporting.metrics import METRICS
from duda.reporting.ranked import Ranked

__all__ = ["Contributions", "measure"]

Figure = Callable[[Int[Tensor, "n"]], float]

_BINS = Bins.of_equal_width(15)  # those of `evaluation.reliability`
_NUMBERS_IN_A_BLOCK = 2**20  # a prediction's, while its examples are gone through


def measure(
    prediction: Prediction,
    y: ArrayLike,
    ood: Prediction | None = None,
    *,
    ignore_index: int | None = None,
    mask: ArrayLike | None = None,
) -> dict[str, float]:
    """Return the metrics of `METRICS` that the prediction has, by name, as `evaluation` finds them.

    NaN stands for an AUROC that does not exist, because all examples are right, or all wrong.

    Args:
        prediction: for the test examples.
        y: their labels `(N, *positions)`, or targets of the shape of the centre.
        ood: for out-of-distribution inputs.
        ignore_index: the label of what does not count.
        mask: of the shape of `y`: what counts. Where it is False `y` may be NaN.

    Raises:
        TypeError: if something is no prediction.
        ValueError: if `y` does not fit, or has an infinite density.

    >>> from duda import ClassPrediction
    >>> answer = ClassPrediction.from_probs([[0.9, 0.1], [0.6, 0.4]])
    >>> round(measure(answer, [0, 1])["accuracy"], 4)
    0.5
    """
    each = Contributions.of(prediction, y, ood, ignore_index, mask)
    return each.measure(torch.arange(each.examples), torch.arange(each.ood))


@dataclass(frozen=True, eq=False)
class Contributions:
    """What the metrics of any draw of examples need, without their classes, levels or draws.

    Args:
        examples: how many test examples there are.
        ood: how many out-of-distribution inputs.
        figures: by the name of the metric, its value for the test examples with given numbers.
        rankings: by the name of an AUROC; out-of-distribution inputs have numbers from `examples`
            up.
    """

    examples: int
    ood: int
    figures: Mapping[str, Figure]
    rankings: Mapping[str, Ranked]

    @classmethod
    def of(
        cls,
        prediction: Prediction,
        y: ArrayLike,
        ood: Prediction | None = None,
        ignore_index: int | None = None,
        mask: ArrayLike | None = None,
    ) -> Self:
        """Return what there is for the arguments of `measure`."""
        prediction = checked(prediction, "prediction")
        y, kept = targets_counted(prediction, y, ignore_index, mask)
        figures: dict[str, Figure] = {}
        rankings: dict[str, Ranked] = {}
        for name, terms in _terms(prediction, y).items():
            counts = _which(terms.values, kept, name)
            _check_metric(name, terms, counts)
            if terms.how == "ranking":
                own = _example(terms.values)[counts.flatten()]
                rankings[name] = Ranked.of(terms.values[counts], _true(terms)[counts], own)
            else:
                figures[name] = _figure(terms, counts)
        if ood is not None:
            own, other = prediction.score, checked(ood, "ood").score
            rankings["auroc_ood"] = _ranked_ood(own, other, _which(own, kept, "auroc_ood"))
        return cls(len(prediction), 0 if ood is None else len(ood), figures, rankings)

    def measure(self, rows: Int[Tensor, "n"], ood: Int[Tensor, "m"]) -> dict[str, float]:
        """Return what `measure` finds for the test examples and the others with these numbers."""
        drawn = torch.cat([rows, self.examples + ood])
        counts = torch.bincount(drawn, minlength=self.examples + self.ood).numpy()
        values = {name: figure(rows) for name, figure in self.figures.items()}
        values |= {name: ranked.auroc(counts) for name, ranked in self.rankings.items()}
        return {name: values[name] for name in METRICS if name in values}


def _terms(prediction: Prediction, y: Tensor) -> dict[str, Terms]:
    """Return all terms of all examples, in float64, found by blocks: draws take much memory."""
    check_not_empty(y, "y")
    blocks = list(_blocks(prediction))
    if len(blocks) == 1:
        found = [prediction.contributions(y)]
    else:
        prediction.loss(y)  # what does not fit is told of all of `y`
        found = [prediction[block].contributions(y[block]) for block in blocks]
    return {name: _joined([part[name] for part in found]) for name in found[0]}


def _blocks(prediction: Prediction) -> Iterator[slice]:
    one = sum(array.size for array in prediction[:1].numpy().values())
    size = max(1, _NUMBERS_IN_A_BLOCK // max(1, one))
    for start in range(0, len(prediction), size):
        yield slice(start, start + size)


def _joined(parts: list[Terms]) -> Terms:
    values = torch.cat([part.values.detach().cpu().double() for part in parts])
    if parts[0].true is None:
        return replace(parts[0], values=values)
    return replace(parts[0], values=values, true=torch.cat([_true(part).cpu() for part in parts]))


def _true(terms: Terms) -> Tensor:
    if terms.true is None:
        raise ValueError(
            f"terms for a {terms.how} have no `true`, expected for each whether it came true."
        )
    return terms.true


def _which(
    values: Float[Tensor, "N *rest"], kept: Bool[Tensor, "N *rest"] | None, name: str
) -> Bool[Tensor, "N *rest"]:
    """Return which values count: all, or those of targets that do."""
    if kept is None:
        return torch.ones_like(values, dtype=torch.bool)
    check_same_shape(values, name, tuple(kept.shape), "the targets, of which some do not count")
    return kept


def _check_metric(name: str, terms: Terms, kept: Bool[Tensor, "N *rest"]) -> None:
    if name not in METRICS:
        raise ValueError(
            f"{nearest(name, METRICS, 'metric')} Of a metric of its own, a family says what it "
            "means in `duda.reporting.METRICS`."
        )
    infinite = int((terms.values[kept] == -math.inf).sum()) if terms.how == "mean" else 0
    if infinite:
        raise ValueError(
            f"`prediction` has an infinite density at {infinite} targets, where its standard "
            "deviation is 0: give the likelihood a larger floor."
        )


def _figure(terms: Terms, kept: Bool[Tensor, "N *rest"]) -> Figure:
    """Return what tells the metric of drawn examples, from what counts."""
    flat = (len(kept), -1)
    counts = kept.reshape(flat).sum(1)
    if terms.how == "calibration":
        surplus = torch.where(kept, _true(terms).double() - terms.values, 0.0)
        return _ece_of(_BINS.index(terms.values.reshape(flat)), surplus.reshape(flat), counts)
    each = torch.where(kept, terms.values, 0.0).reshape(flat).sum(1)
    root, less = terms.how == "root-mean", terms.less

    # Not a mean weighted by how often each was drawn: 0 times an infinite loss is NaN, and where
    # all examples have the same value, rounding would let it seem to differ from draw to draw.
    def mean(rows: Int[Tensor, "n"]) -> float:
        found = float(each[rows].sum() / counts[rows].sum())  # NaN where nothing counts
        return math.sqrt(found) if root else found - less

    return mean


def _ece_of(
    index: Int[Tensor, "N P"], surplus: Float[Tensor, "N P"], counts: Int[Tensor, "N"]
) -> Figure:
    """Return what tells the ECE of drawn examples, P claims each, from the bins of these."""
    bins, (examples, claims) = len(_BINS), index.shape
    if claims > bins:
        # A sum for each bin says as much as all positions do.
        cells = (index + bins * torch.arange(examples).unsqueeze(1)).flatten()
        surplus = torch.bincount(cells, surplus.flatten(), bins * examples).view(examples, bins)
        index = torch.arange(bins).expand(examples, bins)

    def ece(rows: Int[Tensor, "n"]) -> float:
        sums = torch.bincount(index[rows].flatten(), surplus[rows].flatten(), bins)
        return float(sums.abs().sum() / counts[rows].sum())

    return ece


def _ranked_ood(own: Tensor, other: Tensor, kept: Bool[Tensor, "N *rest"]) -> Ranked:
    example = torch.cat([_example(own)[kept.flatten()], len(own) + _example(other)])
    score = torch.cat([each.detach().double().flatten() for each in (own[kept], other)])
    return Ranked.of(score, example >= len(own), example)


def _example(values: Float[Tensor, "N *rest"]) -> Int[Tensor, "S"]:
    """Return whose each of the values is."""
    return torch.arange(len(values)).repeat_interleave(values[0].numel())
