"""What each example adds to each metric of the table, found once: draws of examples sum it up."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from duda import evaluation
from duda.evaluation.binning import Bins
from duda.evaluation.numbers import blocks
from duda.evaluation.rows import LabelledRows, Rows
from duda.predictions import (
    ClassPrediction,
    LocationScalePrediction,
    Prediction,
    QuantilePrediction,
)
from duda.reporting.metrics import LEVEL, METRICS
from duda.reporting.ranked import Ranked

__all__ = ["Contributions"]

Figure = Callable[[Int[Tensor, "n"]], float]

_BINS = Bins.of_equal_width(15)  # those of `evaluation.reliability`


@dataclass(frozen=True, eq=False)
class Contributions:
    """What the metrics of any draw of examples need, without their classes, levels or draws.

    Args:
        examples: how many test examples there are.
        foreign: how many inputs from elsewhere.
        figures: by the name of the metric, its value for the test examples with given numbers.
        rankings: by the name of an AUROC; examples from elsewhere have numbers from `examples` up.
    """

    examples: int
    foreign: int
    figures: Mapping[str, Figure]
    rankings: Mapping[str, Ranked]

    @classmethod
    def of(cls, prediction: Prediction, y: Tensor, ood: Prediction | None = None) -> Self:
        """Return what there is for arguments that `measure` took, all of them on the CPU."""
        figures: dict[str, Figure] = {}
        rankings: dict[str, Ranked] = {}
        if isinstance(prediction, ClassPrediction):
            figures = _of_classes(prediction, y)
            wrong = (prediction.labels != y.long()).flatten()
            rankings["auroc_errors"] = Ranked.of(_score(prediction), wrong, _example(prediction))
        elif isinstance(prediction, LocationScalePrediction):
            figures = _of_numbers(prediction, y)
        elif isinstance(prediction, QuantilePrediction):
            figures = _of_quantiles(prediction, y)
        if ood is not None:
            rankings["auroc_ood"] = _ranked_ood(prediction, ood)
        return cls(len(prediction), 0 if ood is None else len(ood), figures, rankings)

    def measure(
        self, rows: Int[Tensor, "n"], foreign: Int[Tensor, "m"] | None = None
    ) -> dict[str, float]:
        """Return what `measure(prediction[rows], y[rows], ood[foreign])` does, but for rounding."""
        drawn = rows if foreign is None else torch.cat([rows, self.examples + foreign])
        counts = torch.bincount(drawn, minlength=self.examples + self.foreign).numpy()
        values = {name: figure(rows) for name, figure in self.figures.items()}
        values |= {name: ranked.auroc(counts) for name, ranked in self.rankings.items()}
        return {name: values[name] for name in METRICS if name in values}


def _of_classes(prediction: ClassPrediction, y: Tensor) -> dict[str, Figure]:
    found = [
        (rows.hits(), rows.log_losses(), rows.squared_distances(), *_claims(rows))
        for rows in LabelledRows(None, y, prediction.log_probs, None, votes=False)
    ]
    hits, losses, distances, index, surplus = (
        torch.cat(each).view(len(prediction), -1) for each in zip(*found, strict=True)
    )
    return {
        "accuracy": _mean_of(hits),
        "nll": _mean_of(losses),
        "brier": _mean_of(distances),
        "ece": _ece_of(index, surplus),
    }


def _claims(rows: Rows) -> tuple[Int[Tensor, "n"], Float[Tensor, "n"]]:
    """Return the bin of each confidence, and by how much being right exceeds it."""
    confidence, right = rows.claims("top")
    values = confidence.double()
    return _BINS.index(values), right.double() - values


def _of_numbers(prediction: LocationScalePrediction, y: Tensor) -> dict[str, Figure]:
    return {
        "rmse": _mean_of(_squared_errors(prediction.mean, y), math.sqrt),
        "nll": _mean_of(-prediction.log_prob(y)),
        "coverage": _mean_of(_inside(prediction, y, LEVEL)),
    }


def _of_quantiles(prediction: QuantilePrediction, y: Tensor) -> dict[str, Figure]:
    level = prediction.widest_level
    inside = _inside(prediction, y, level)
    # As in `measure`: only intervals that promise the same can be set beside others.
    usual = math.isclose(level, LEVEL, abs_tol=1e-6)
    losses = evaluation.pinball_of_quantiles(prediction.quantiles, prediction.levels, y)
    return {
        "rmse": _mean_of(_squared_errors(prediction.median, y), math.sqrt),
        "pinball": _mean_of(losses),
        **(
            {"coverage": _mean_of(inside)}
            if usual
            else {"coverage_surplus": _mean_of(inside, lambda share: share - level)}
        ),
        "width": _mean_of(prediction.score),
    }


def _mean_of(values: Shaped[Tensor, "N *rest"], then: Callable[[float], float] = float) -> Figure:
    """Return what tells the mean of drawn examples, or what `then` makes of it."""
    each = values.double().reshape(len(values), -1).mean(1)

    # Not a mean weighted by counts: 0 times an infinite loss is NaN, and where all examples have
    # the same value, rounding would let it seem to differ from draw to draw.
    return lambda rows: then(float(each[rows].mean()))


def _ece_of(index: Int[Tensor, "N P"], surplus: Float[Tensor, "N P"]) -> Figure:
    """Return what tells the ECE of drawn examples, P claims each, from the bins of these."""
    bins, (examples, claims) = len(_BINS), index.shape
    if claims > bins:
        # A sum for each bin says as much as all positions do.
        cells = (index + bins * torch.arange(examples).unsqueeze(1)).flatten()
        surplus = torch.bincount(cells, surplus.flatten(), bins * examples).view(examples, bins)
        index = torch.arange(bins).expand(examples, bins)

    def ece(rows: Int[Tensor, "n"]) -> float:
        sums = torch.bincount(index[rows].flatten(), surplus[rows].flatten(), bins)
        return float(sums.abs().sum()) / (len(rows) * claims)

    return ece


def _squared_errors(centre: Tensor, y: Tensor) -> Float[Tensor, "N D *positions"]:
    return (centre.double() - y.double()).square()


def _inside(
    prediction: LocationScalePrediction | QuantilePrediction, y: Tensor, level: float
) -> Bool[Tensor, "N D *positions"]:
    """Return which targets lie in their interval, by blocks, for a mixture's take much memory."""
    values, found = y.double().to(prediction.centre), []
    for part in blocks(values):
        lower, upper = prediction[part].interval(level)
        found.append((lower <= values[part]) & (values[part] <= upper))
    return torch.cat(found)


def _ranked_ood(prediction: Prediction, ood: Prediction) -> Ranked:
    example = torch.cat([_example(prediction), len(prediction) + _example(ood)])
    score = torch.cat([_score(prediction), _score(ood)])
    return Ranked.of(score, example >= len(prediction), example)


def _score(prediction: Prediction) -> Float[Tensor, "S"]:
    return prediction.score.double().flatten()


def _example(prediction: Prediction) -> Int[Tensor, "S"]:
    """Return whose each of the scores is."""
    positions = prediction.score[0].numel()
    return torch.arange(len(prediction)).repeat_interleave(positions)
