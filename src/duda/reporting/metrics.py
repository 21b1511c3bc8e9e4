"""The numbers in the table: what each means, which way is better, how it is measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from duda import evaluation
from duda.checks import ArrayLike, as_tensor, check_same_shape
from duda.predictions import (
    ClassPrediction,
    LocationScalePrediction,
    Prediction,
    QuantilePrediction,
)

__all__ = ["LEVEL", "METRICS", "Metric", "measure"]

LEVEL = 0.95


@dataclass(frozen=True)
class Metric:
    """What a column of numbers means.

    Args:
        label: its name for a reader, short enough for the head of a column.
        meaning: one sentence or two for somebody who has never met it.
        better: which way, or the value that is right.
        percent: whether to show it as a share of 100.
        price: whether it tells what answers cost, not how good they are.
    """

    label: str
    meaning: str
    better: Literal["lower", "higher"] | float
    percent: bool = False
    price: bool = False

    @property
    def arrow(self) -> str:
        """Up or down for what is better, or the value that is right."""
        if isinstance(self.better, float):
            return f"→ {100 * self.better:g} %"
        return "↑" if self.better == "higher" else "↓"

    @property
    def direction(self) -> str:
        """What to aim for, in two or three words.

        >>> METRICS["coverage"].direction
        '95 % is right'
        """
        if isinstance(self.better, float):
            return f"{100 * self.better:g} % is right"
        return f"{self.arrow} {self.better} is better"

    def badness(self, value: float) -> float:
        """Return how far `value` is from what is wanted; the lowest is best."""
        if isinstance(self.better, float):
            return abs(value - self.better)
        return -value if self.better == "higher" else value


METRICS: dict[str, Metric] = {
    "accuracy": Metric(
        "Accuracy",
        "Share of test examples whose most probable class is the right one.",
        "higher",
        percent=True,
    ),
    "rmse": Metric(
        "RMSE",
        "Root of the mean squared error of the predicted mean, or median, in units of the target.",
        "lower",
    ),
    "nll": Metric(
        "NLL",
        "Negative log-likelihood: the mean of minus the logarithm of the probability, or density, "
        "that was given to the truth, in nats. Being sure and wrong costs most.",
        "lower",
    ),
    "pinball": Metric(
        "Pinball loss",
        "Mean over the levels of what the predicted quantiles cost: their distance to the truth, "
        "times the level where they lie below it, else times the rest; in units of the target.",
        "lower",
    ),
    "brier": Metric(
        "Brier score",
        "Mean squared distance between the probabilities and the truth: 0 is perfect, 2 the worst.",
        "lower",
    ),
    "ece": Metric(
        "ECE",
        "Expected calibration error: how far the confidence is from the share that is right, on "
        "average over 15 bins of confidence.",
        "lower",
    ),
    "coverage": Metric(
        "Coverage",
        "Share of the true values inside the interval that should hold 95 % of them.",
        LEVEL,
        percent=True,
    ),
    "coverage_surplus": Metric(
        "Coverage surplus",
        "Share of the true values inside the widest interval between two quantiles, less the share "
        "that it should hold.",
        0.0,
        percent=True,
    ),
    "width": Metric(
        "Interval width",
        "Mean width of the widest interval, in units of the target. Narrow is good only where the "
        "coverage is right.",
        "lower",
    ),
    "auroc_ood": Metric(
        "AUROC OOD",
        "Out of distribution: chance that an input from elsewhere gets a higher uncertainty than a "
        "test example: 0.5 is guessing, 1 perfect.",
        "higher",
    ),
    "auroc_errors": Metric(
        "AUROC errors",
        "Chance that a wrong answer gets a higher uncertainty than a right one: 0.5 is guessing, "
        "1 perfect.",
        "higher",
    ),
    "parameters": Metric(
        "Parameters", "What training sets, all networks together.", "lower", price=True
    ),
    "seconds_train": Metric(
        "Seconds to train", "On this machine, all networks together.", "lower", price=True
    ),
    "seconds_predict": Metric(
        "Seconds to predict", "On this machine, all test examples.", "lower", price=True
    ),
}


def measure(
    prediction: Prediction, y: ArrayLike, ood: Prediction | None = None
) -> dict[str, float]:
    """Return the metrics of `METRICS` that fit the prediction, by name.

    NaN stands for an AUROC that does not exist, because all examples are right, or all wrong.

    Args:
        prediction: for the test examples.
        y: their labels `(N, *positions)`, or targets of the shape of the mean.
        ood: for inputs from elsewhere.

    Raises:
        TypeError: if there are no metrics for this kind of prediction.
        ValueError: if `y` does not fit.

    >>> answer = ClassPrediction.from_probs([[0.9, 0.1], [0.6, 0.4]])
    >>> round(measure(answer, [0, 1])["accuracy"], 4)
    0.5
    """
    if isinstance(prediction, ClassPrediction):
        values = _of_classes(prediction, y)
    elif isinstance(prediction, LocationScalePrediction):
        values = _of_numbers(prediction, y)
    elif isinstance(prediction, QuantilePrediction):
        values = _of_quantiles(prediction, y)
    else:
        raise TypeError(
            f"`prediction` is a {type(prediction).__name__}, expected a ClassPrediction, a "
            "GaussianPrediction, a LaplacianPrediction or a QuantilePrediction."
        )
    if ood is not None:
        values["auroc_ood"] = _auroc_ood(prediction, ood)
    return {name: values[name] for name in METRICS if name in values}


def _of_classes(prediction: ClassPrediction, y: ArrayLike) -> dict[str, float]:
    log_probs = prediction.log_probs
    return {
        "accuracy": evaluation.accuracy(y=y, logits=log_probs),
        "nll": evaluation.nll(y=y, logits=log_probs),
        "brier": evaluation.brier(y=y, logits=log_probs),
        "ece": evaluation.reliability(y=y, logits=log_probs).ece,
        "auroc_errors": _auroc_errors(prediction, as_tensor(y, "y").cpu()),
    }


def _of_numbers(prediction: LocationScalePrediction, y: ArrayLike) -> dict[str, float]:
    return {
        "rmse": evaluation.rmse(prediction.mean, y),
        "nll": evaluation.density_nll(prediction, y),
        "coverage": float(evaluation.coverage(prediction, y, [LEVEL]).observed),
    }


def _of_quantiles(prediction: QuantilePrediction, y: ArrayLike) -> dict[str, float]:
    level = prediction.widest_level
    share = float(evaluation.coverage(prediction, y, [level]).observed)
    # Only intervals that promise the same can be set beside others.
    usual = math.isclose(level, LEVEL, abs_tol=1e-6)
    return {
        "rmse": evaluation.rmse(prediction.median, y),
        "pinball": evaluation.pinball(prediction, y),
        **({"coverage": share} if usual else {"coverage_surplus": share - level}),
        "width": float(prediction.score.mean(dtype=torch.float64)),
    }


def _auroc_errors(prediction: ClassPrediction, y: Tensor) -> float:
    labels = prediction.labels.cpu()
    check_same_shape(y, "y", tuple(labels.shape), "the predicted labels")
    wrong = labels != y.long()
    if not bool(wrong.any()) or bool(wrong.all()):
        return math.nan
    return evaluation.rank(prediction.score, wrong).auroc


def _auroc_ood(prediction: Prediction, ood: Prediction) -> float:
    own, other = prediction.score.cpu().flatten(), ood.score.cpu().flatten()
    is_ood = torch.cat([torch.zeros(len(own)), torch.ones(len(other))])
    return evaluation.rank(torch.cat([own, other]), is_ood).auroc
