"""Metrics of the table: what each means, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["LEVEL", "METRICS", "Metric"]

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
    "mae": Metric("MAE", "Mean absolute error, in units of the target, or in classes.", "lower"),
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
    "rps": Metric(
        "RPS",
        "Ranked probability score, of classes in an order: the squared distance between cumulated "
        "probabilities and the truth, so that a far class costs more than a near one.",
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
        "Chance that an out-of-distribution input gets a higher uncertainty than a test example: "
        "0.5 is guessing, 1 perfect.",
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
