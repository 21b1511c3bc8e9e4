"""All methods with all seeds, and the files that tell of them."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import duda
from duda.checks import check_count, nearest
from duda.comparison.experiment import Run, in_units, run, targets
from duda.comparison.networks import Recipe, default_likelihood, likelihood_for, recipe
from duda.datasets import Split, load, ood_inputs
from duda.files import json_number, write_atomically
from duda.methods import METHODS
from duda.predictions import LocationScalePrediction, QuantilePrediction
from duda.reporting import METRICS, OneInput, Report, Row, report, rows, spread

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs of all methods with all seeds, and the data of the first seed.

    Args:
        split: of seed 0, which the report shows.
        foreign: the inputs from elsewhere and their name, where there are some.
        plan: how the networks were trained.
        likelihood: what their outputs mean, as in `duda.LIKELIHOODS`.
        runs: method by method within each seed.
    """

    split: Split
    foreign: tuple[Tensor, str] | None
    plan: Recipe
    likelihood: str
    runs: Sequence[Run]

    @property
    def methods(self) -> list[str]:
        """The methods, in the order asked for."""
        return list(dict.fromkeys(each.method for each in self.runs))

    @property
    def measured(self) -> dict[str, dict[str, list[float]]]:
        """By method and metric, a number for each seed."""
        return {
            method: {
                name: [each.figures[name] for each in self.runs if each.method == method]
                for name in METRICS
                if name in self.runs[0].figures
            }
            for method in self.methods
        }

    @property
    def table(self) -> list[Row]:
        """A row for each metric."""
        return rows(self.measured)

    def results(self) -> dict[str, Any]:
        """Return all numbers and how they came about, ready for JSON."""
        return {
            "data": self.split.name,
            "ood": self.foreign[1] if self.foreign else None,
            "likelihood": self.likelihood,
            "seeds": sorted({each.seed for each in self.runs}),
            "training": asdict(self.plan),
            "versions": {
                "duda": duda.__version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
            "methods": {
                method: {name: _summary(values) for name, values in each.items()}
                for method, each in self.measured.items()
            },
        }

    def report(self) -> Report:
        """Return the page: the table over all seeds, and the charts of the first."""
        first = {each.method: each for each in self.runs if each.seed == self.runs[0].seed}
        foreign = {m: each.ood for m, each in first.items() if each.ood is not None}
        return report(
            {method: each.test for method, each in first.items()},
            targets(self.split),
            ood={self.foreign[1]: foreign} if self.foreign else None,
            inputs=self.split.test[0],
            ood_inputs=self.foreign[0] if self.foreign else None,
            classes=self.split.classes,
            one_input=_one_input(self.split, first),
            measured=self.measured,
            title=f"{self.split.name}: how sure, and how right?",
            about=self._about(),
        )

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write results, predictions and report into `folder`; return the report's path."""
        place = Path(folder)
        for each in self.runs:
            stem = f"{each.method}-seed{each.seed}"
            each.test.save(place / "predictions" / f"{stem}-test.safetensors")
            if each.ood is not None:
                each.ood.save(place / "predictions" / f"{stem}-ood.safetensors")
        text = json.dumps(self.results(), indent=2, allow_nan=False) + "\n"
        write_atomically(place / "results.json", text.encode())
        return self.report().save(place / "report.html")

    def _about(self) -> str:
        train, test = len(self.split.train[0]), len(self.split.test[0])
        parts = [f"{train:,} training and {test:,} test examples"]
        if self.foreign:
            parts.append(f"{len(self.foreign[0]):,} inputs from elsewhere ({self.foreign[1]})")
        epochs = "1 epoch" if self.plan.epochs == 1 else f"{self.plan.epochs} epochs"
        parts.append(f"the same network for all methods, {epochs} of training each")
        parts.append(f"likelihood: {self.likelihood}")
        seeds = len({each.seed for each in self.runs})
        if seeds > 1:
            parts.append("all but the table shows the first seed")
        return f"{'; '.join(parts)}."


def compare(
    data: str,
    methods: Sequence[str] | None = None,
    *,
    ood: str | None = None,
    likelihood: str | None = None,
    seeds: int = 1,
    epochs: int | None = None,
    tell: Callable[[str], None] | None = None,
) -> Comparison:
    """Train and ask each method on the same data, with seeds 0 to `seeds` - 1.

    Args:
        data: a data set, as in `duda.datasets.load`.
        methods: as in `duda.METHODS`; by default all that take the likelihood.
        ood: the data set to take foreign inputs from; by default what `data` brings itself.
        likelihood: as in `duda.LIKELIHOODS`; by default categorical, or gaussian for numbers.
        seeds: how many.
        epochs: in place of what the data set is known to need.
        tell: called with a line before each training, and one on the methods left out.

    Raises:
        ValueError: if a name is unknown or a number not at least 1, before anything is trained.
        FileNotFoundError: if the data is not there.
    """
    if methods is not None:
        _check_known(methods)
    seeds = check_count(seeds, "seeds")
    first = load(data, 0)
    meaning = default_likelihood(first) if likelihood is None else likelihood
    takers = _takers(first, meaning)
    chosen = takers if methods is None else _check_takers(methods, takers, meaning)
    plan = recipe(first) if epochs is None else replace(recipe(first), epochs=epochs)
    check_count(plan.epochs, "epochs")
    foreign = ood_inputs(first, ood, 0)
    runs: list[Run] = []
    others = [method for method in METHODS if method not in takers]
    if tell is not None and methods is None and others:
        tell(f"left out, because they do not take the likelihood {meaning}: {', '.join(others)}")
    for seed in range(seeds):
        split = first if seed == 0 else load(data, seed)
        elsewhere = foreign if seed == 0 else ood_inputs(split, ood, seed)
        for method in chosen:
            if tell is not None:
                tell(f"{len(runs) + 1} of {seeds * len(chosen)}: {method}, seed {seed}")
            inputs = elsewhere[0] if elsewhere else None
            runs.append(run(method, split, inputs, plan, seed, meaning))
    return Comparison(first, foreign, plan, meaning, runs)


def _check_known(methods: Sequence[str]) -> None:
    if not methods:
        raise ValueError(f"`methods` is empty, expected some of {', '.join(METHODS)}.")
    for method in methods:
        if method not in METHODS:
            raise ValueError(nearest(method, METHODS, "method"))
        if methods.count(method) > 1:
            raise ValueError(f"`methods` names {method!r} more than once: name it once.")


def _takers(split: Split, likelihood: str) -> list[str]:
    """Return the methods that make sense for the likelihood."""
    meaning = likelihood_for(split, likelihood)
    return [name for name, method in METHODS.items() if isinstance(meaning, method.likelihoods)]


def _check_takers(methods: Sequence[str], takers: list[str], likelihood: str) -> list[str]:
    for method in methods:
        if method not in takers:
            raise ValueError(
                f"`methods` names {method!r}, which does not take the likelihood {likelihood!r}, "
                f"expected some of {', '.join(takers)}."
            )
    return list(methods)


def _one_input(split: Split, runs: dict[str, Run]) -> OneInput | None:
    if split.curve is None:
        return None
    shown = {method: each.shown for method, each in runs.items()}
    numbers = LocationScalePrediction | QuantilePrediction
    return OneInput(
        split.curve.x,
        {method: answer for method, answer in shown.items() if isinstance(answer, numbers)},
        (split.train[0], in_units(split, split.train[1])),
        split.curve.truth,
    )


def _summary(values: Sequence[float]) -> dict[str, Any]:
    mean, deviation = spread(values)
    return {
        "mean": json_number(mean),
        "std": None if deviation is None else json_number(deviation),
        "values": [json_number(value) for value in values],
    }
