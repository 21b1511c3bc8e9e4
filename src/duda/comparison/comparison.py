"""Comparison of methods: their runs with all seeds, as a table, a report and files."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import duda
from duda.checks import counted, nearest
from duda.comparison.folder import save_run
from duda.comparison.makers import file_name
from duda.comparison.options import described
from duda.comparison.run import Run
from duda.comparison.task import Task
from duda.comparison.unfinished import Unfinished
from duda.files import json_number
from duda.predictions import Prediction
from duda.renamed import OldAttribute
from duda.reporting import METRICS, OneInput, Report, Row, as_text, report, rows, spread
from duda.shown import visible

__all__ = ["Comparison"]


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Runs of all methods with all seeds, and the data of the first seed.

    Args:
        task: the data with seed 0, which the report shows.
        likelihood: what the networks' outputs mean, in words.
        training: the options of `duda.fit`.
        runs: method by method within each seed.
        chosen: in words, what stands for arguments that are missing.
        left_out: by method, why it is not here.
    """

    task: Task
    likelihood: str
    training: Mapping[str, Any]
    runs: Sequence[Run]
    chosen: Sequence[str] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    split = OldAttribute("task")

    def __repr__(self) -> str:
        """Return what was compared, and the table."""
        seeds = counted(len(self.seeds), "seed")
        head = f"Comparison on {visible(self.task.name)}: {self.likelihood}, {seeds}"
        return "\n".join([head, as_text(self.methods, self.table), *self.reasons()])

    def reasons(self) -> list[str]:
        """Return a sentence for each method that was left out."""
        return [f"without {method}: {why}" for method, why in self.left_out.items()]

    @property
    def methods(self) -> list[str]:
        """The methods, in the order asked for."""
        return list(dict.fromkeys(each.method for each in self.runs))

    @property
    def seeds(self) -> list[int]:
        """The seeds, ascending."""
        return sorted({each.seed for each in self.runs})

    @property
    def measured(self) -> dict[str, dict[str, list[float]]]:
        """By method and metric, a number for each seed; of `ood` for the first set."""
        return {
            method: {
                name: [each.figures[name] for each in self.runs if each.method == method]
                for name in METRICS
                if name in self.runs[0].figures
            }
            for method in self.methods
        }

    @property
    def separation(self) -> dict[str, dict[str, list[float]]]:
        """By set of out-of-distribution inputs and method, the AUROC of each seed."""
        found = [(each.method, each.separation) for each in self.runs]
        return {
            name: {m: [auroc[name] for own, auroc in found if own == m] for m in self.methods}
            for name in self.task.ood
        }

    @property
    def table(self) -> list[Row]:
        """A row for each metric."""
        return rows(self.measured)

    def results(self) -> dict[str, Any]:
        """Return all numbers and how they came about, ready for JSON."""
        return {
            "data": self.task.name,
            "ood": next(iter(self.task.ood), None),
            "likelihood": self.likelihood,
            "seeds": self.seeds,
            "training": described(self.training),
            "chosen": list(self.chosen),
            "left_out": dict(self.left_out),
            "versions": {
                "duda": duda.__version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
            "methods": {
                method: {name: _summary(values) for name, values in each.items()}
                for method, each in self.measured.items()
            },
            "auroc_ood": {
                name: {method: _summary(values) for method, values in each.items()}
                for name, each in self.separation.items()
            },
        }

    def report(self, ood: str | None = None) -> Report:
        """Return the page: the table over all seeds, and the charts of the first.

        Args:
            ood: the set of out-of-distribution inputs to show; by default the first.

        Raises:
            ValueError: if there is none of this name.
        """
        name = next(iter(self.task.ood), None) if ood is None else ood
        if name is not None and name not in self.task.ood:
            raise ValueError(nearest(name, self.task.ood, "set of inputs"))
        first = {each.method: each for each in self.runs if each.seed == self.runs[0].seed}
        measured = self.measured
        if name is not None:
            for method, values in self.separation[name].items():
                measured[method]["auroc_ood"] = values
        return report(
            {method: each.test for method, each in first.items()},
            self.task.targets,
            ood=None if name is None else {name: {m: e.ood[name] for m, e in first.items()}},
            inputs=self._pictures(self.task.test[0]),
            ood_inputs=None if name is None else self._pictures(self.task.ood[name]),
            classes=self.task.classes,
            one_input=_one_input(self.task, first),
            measured=measured,
            title=f"{self.task.name}: how sure, and how right?",
            about=self._about(name),
        )

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write results, predictions and report into `folder`; return the report's path."""
        predictions: dict[str, Prediction] = {}
        for each in self.runs:
            stem = f"{file_name(each.method)}-seed{each.seed}"
            predictions[f"{stem}-test.safetensors"] = each.test
            for number, ood in enumerate(each.ood.values(), 1):
                which = "ood" if len(each.ood) == 1 else f"ood{number}"
                predictions[f"{stem}-{which}.safetensors"] = ood
        written = save_run(folder, self.results(), self.report(), predictions)
        Unfinished(Path(folder)).clear()
        return written

    def _pictures(self, x: object) -> Tensor | None:
        """Return the inputs if the report can show them: pictures in [0, 1] with a class each."""
        if not isinstance(x, Tensor) or x.ndim != 4 or x.shape[1] not in (1, 3):
            return None
        in_range = float(x.min()) >= 0 and float(x.max()) <= 1
        return x if in_range and self.task.test[1].ndim == 1 else None

    def _about(self, ood: str | None) -> str:
        tests = f"{len(self.task.test[1]):,} test examples"
        known = self.task.examples
        parts = [tests if known is None else f"{known:,} training and {tests}"]
        if ood is not None:
            count = len(self.runs[0].ood[ood])
            parts.append(f"{count:,} out-of-distribution inputs ({ood})")
        length = "steps" if "steps" in self.training else "epochs"
        times = counted(self.training[length], length.removesuffix("s"))
        parts.append(f"the same network for all methods, {times} of training each")
        parts.append(f"likelihood: {self.likelihood}")
        parts += self.chosen
        parts += [f"without {method} ({why.rstrip('.')})" for method, why in self.left_out.items()]
        if len(self.seeds) > 1:
            parts.append("all but the table shows the first seed")
        return f"{'; '.join(parts)}."


def _one_input(task: Task, runs: dict[str, Run]) -> OneInput | None:
    if task.split is None or task.split.curve is None:
        return None
    curve, (x, y) = task.split.curve, task.split.train
    shown: Any = {method: each.shown for method, each in runs.items()}  # all of numbers
    return OneInput(curve.x, shown, (x, task.in_units(y)), curve.truth)


def _summary(values: Sequence[float]) -> dict[str, Any]:
    mean, deviation = spread(values)
    return {
        "mean": json_number(mean),
        "std": None if deviation is None else json_number(deviation),
        "values": [json_number(value) for value in values],
    }
