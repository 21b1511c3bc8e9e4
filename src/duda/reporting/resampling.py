"""Bootstrap intervals: how far metrics may be from what more test data would give."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from duda.checks import ArrayLike
from duda.predictions import Prediction
from duda.progress import progress
from duda.reporting.contributions import Contributions
from duda.reporting.metrics import LEVEL

__all__ = ["Intervals", "intervals", "intervals_of"]

Intervals = dict[str, tuple[float, float]]

_RESAMPLES = 200
_FEWEST = 10  # a handful of values cannot be resampled: draws hardly differ from one another


def intervals(
    prediction: Prediction,
    y: ArrayLike,
    ood: Prediction | None = None,
    *,
    seed: int = 0,
    ignore_index: int | None = None,
    mask: ArrayLike | None = None,
) -> Intervals:
    """Return the ends of a 95 % interval for each metric that `measure` finds, by its name.

    They are percentiles over 200 draws of as many examples with replacement, of test examples and
    of out-of-distribution inputs apart. The ECE of such a draw is larger than that of the examples
    themselves, so that its ends are scaled by the ratio. There is no interval for an AUROC with
    fewer than 10 examples of a kind, errors, right answers, in distribution or out: so few cannot
    be resampled. Nor for what no draw changes, such as an accuracy of 100 %: that says nothing of
    how far off it is. Source: Efron & Tibshirani 1993, chapter 13.

    Args:
        prediction: for the test examples.
        y: their labels `(N, *positions)`, or targets of the shape of the centre.
        ood: for out-of-distribution inputs.
        seed: of the draws; the global random state stays as it was.
        ignore_index: the label of what does not count.
        mask: of the shape of `y`: what counts. Where it is False `y` may be NaN.

    >>> from duda import ClassPrediction
    >>> answer = ClassPrediction.from_probs([[0.9, 0.1]] * 50 + [[0.6, 0.4]] * 50)
    >>> low, high = intervals(answer, [0, 1] * 50)["accuracy"]
    >>> 0.3 < low < 0.5 < high < 0.7
    True
    """
    # What the classes, levels and draws of a prediction tell is found once, not in each draw.
    return intervals_of(Contributions.of(prediction, y, ood, ignore_index, mask), seed)


def intervals_of(each: Contributions, seed: int) -> Intervals:
    """Return the ends of what these contributions make up."""
    generator = torch.Generator().manual_seed(seed)
    values = each.measure(torch.arange(each.examples), torch.arange(each.ood))
    found: dict[str, list[float]] = {name: [] for name in values}
    for _ in progress(range(_RESAMPLES), "resample", _RESAMPLES):
        rows = _drawn(each.examples, generator)
        others = _drawn(each.ood, generator) if each.ood else torch.arange(0)
        for name, value in each.measure(rows, others).items():
            found[name].append(value)
    ends = {name: _ends(torch.tensor(drawn, dtype=torch.float64)) for name, drawn in found.items()}
    if "ece" in ends:
        ratio = values["ece"] / (sum(found["ece"]) / _RESAMPLES or 1.0)
        ends["ece"] = (ratio * ends["ece"][0], ratio * ends["ece"][1])
    scarce = {name for name, ranked in each.rankings.items() if ranked.fewest < _FEWEST}
    return {name: pair for name, pair in ends.items() if name not in scarce and _tells(*pair)}


def _tells(low: float, high: float) -> bool:
    return math.isfinite(low) and math.isfinite(high) and low < high


def _drawn(count: int, generator: torch.Generator) -> Tensor:
    return torch.randint(count, (count,), generator=generator)


def _ends(values: Tensor) -> tuple[float, float]:
    low, high = values.quantile(torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2]).double()).tolist()
    return low, high
