"""Evaluation of predictions of any program, from a file to the numbers and the report."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

import duda
from duda.checks import counted
from duda.comparison.arrays import read_arrays, read_prediction
from duda.comparison.folder import save_run
from duda.comparison.points import report_of_points
from duda.evaluation import reliability
from duda.files import json_number
from duda.predictions import Prediction
from duda.reporting import Intervals, Report, Row, intervals, measure, report, rows
from duda.reporting.evidence import IGNORED, check_alike
from duda.shown import visible

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How far one program's predictions can be trusted.

    Args:
        name: of the predictions.
        prediction: for the test examples.
        y: their labels or targets.
        counted: which of them count.
        ood: for out-of-distribution inputs, by name, if there are any.
        figures: by the name of the metric.
        ends: of a 95 % interval for each of these.
    """

    name: str
    prediction: Prediction
    y: Tensor
    counted: Bool[Tensor, "N *rest"]
    ood: dict[str, Prediction]
    figures: dict[str, float]
    ends: Intervals

    @property
    def table(self) -> list[Row]:
        """A row for each metric, with one cell."""
        return rows(self._measured(), {self.name: self.ends})

    @property
    def note(self) -> str:
        """How large an ECE chance alone makes, in a sentence; empty for numbers."""
        if not self.prediction.can("log_probs"):
            return ""
        labels = torch.where(self.counted, self.y.long(), IGNORED)
        probs = self.prediction.probs  # type: ignore[attr-defined] # of classes
        band = reliability(probs, labels, ignore_index=IGNORED).null_band()
        return (
            f"With these confidences a perfectly calibrated model would show an ECE of up to "
            f"{band.limit:.4f}, in 95 of 100 test sets of this size."
        )

    def _measured(self) -> dict[str, dict[str, list[float]]]:
        return {self.name: {metric: [value] for metric, value in self.figures.items()}}

    def results(self) -> dict[str, Any]:
        """Return what goes into `results.json`; null where there is no number."""
        return {
            "duda": duda.__version__,
            "predictions": self.name,
            "examples": len(self.prediction),
            "left_out": int((~self.counted).sum()),
            "ood": {name: len(each) for name, each in self.ood.items()},
            "metrics": {
                metric: {
                    "value": json_number(value),
                    "interval": list(self.ends[metric]) if metric in self.ends else None,
                }
                for metric, value in self.figures.items()
            },
        }

    def report(self) -> Report:
        """Return the page."""
        counts = [counted(len(self.prediction), "test example")]
        counts += [f"{counted(len(each), 'input')} from {name}" for name, each in self.ood.items()]
        title = f"{self.name}: how sure, and how right?"
        about = f"{'; '.join(counts)}. {self.note}"
        if not self.prediction.can("score"):
            return report_of_points(self.name, self.table, title, about)
        return report(
            {self.name: self.prediction},
            self.y,
            mask=self.counted,
            ood=self.ood or None,
            measured=self._measured(),
            ends={self.name: self.ends},
            title=title,
            about=about,
        )

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write results and report into `folder`; return the report's path."""
        return save_run(folder, self.results(), self.report())


def evaluate(
    path: str | os.PathLike[str],
    ood: str | os.PathLike[str] | None = None,
    *,
    ignore_index: int | None = None,
) -> Evaluation:
    """Measure the predictions in one file, against those of out-of-distribution inputs.

    Args:
        path: an `.npz` file as `read_arrays` takes it, with labels or targets.
        ood: another with predictions of the same kind; it needs no targets.
        ignore_index: the label of what does not count.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: if one does not hold what it should.
    """
    prediction, y, kept = read_arrays(path, ignore_index)
    if y is None or kept is None:
        raise ValueError(
            f"`{path}` holds no `labels` and no `y`, expected what the predictions are to be "
            "compared with."
        )
    outside = None if ood is None else read_prediction(ood)
    if outside is not None:
        check_alike(outside, str(ood), prediction, f"`{path}`")
        if not prediction.can("score"):
            raise ValueError(
                f"`{path}` holds a mean alone, expected a standard deviation or quantiles with it: "
                "by what else is out of distribution to be noticed?"
            )
    try:
        figures = measure(prediction, y, outside, mask=kept)
    except ValueError as error:
        raise ValueError(f"`{path}`: {error}") from error
    return Evaluation(
        visible(Path(path).stem),
        prediction,
        y,
        kept,
        {} if outside is None or ood is None else {visible(Path(ood).stem): outside},
        figures,
        intervals(prediction, y, outside, mask=kept),
    )
