"""Runs: a method is made, trained and asked, for one seed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from duda.batches import Batch
from duda.comparison.makers import file_name
from duda.comparison.task import Task
from duda.evaluation import ood as separate
from duda.methods import UncertainModel
from duda.predictions import Prediction
from duda.reporting import measure
from duda.sources import Inputs
from duda.training import fit

__all__ = ["Run", "run", "threads_for"]

_SMALL = 256  # numbers in an example


@dataclass(frozen=True, eq=False)
class Run:
    """What one method with one seed gave, in the units of the target.

    Args:
        method: its label.
        seed: of the split, the networks, the training and the draws.
        test: the prediction for the test examples.
        figures: the metrics, with the seconds.
        ood: the predictions for out-of-distribution inputs, by name.
        shown: that for the curve of a problem with one input.
    """

    method: str
    seed: int
    test: Prediction
    figures: dict[str, float]
    ood: Mapping[str, Prediction] = field(default_factory=dict)
    shown: Prediction | None = None

    @property
    def separation(self) -> dict[str, float]:
        """The AUROC of the uncertainty of each set of out-of-distribution inputs."""
        return {
            name: separate(self.test.score, each.score).auroc for name, each in self.ood.items()
        }


def run(
    label: str, model: UncertainModel, task: Task, options: Mapping[str, Any], seed: int
) -> Run:
    """Train the model of a method, and ask it about test, out-of-distribution and shown inputs.

    The same seed gives the same run, and torch's global random state stays as it was.
    """
    options = dict(options)
    if options.get("checkpoint") is not None:
        options["checkpoint"] = Path(options["checkpoint"]) / f"{file_name(label)}-seed{seed}"
    with threads_for(task.test[0]):
        start = time.perf_counter()
        fit(model, task.train, validation=task.validation, seed=seed, **options)
        trained = time.perf_counter()
        test = _ask(model, task, task.test[0], seed)
        asked = time.perf_counter()
        ood = {name: _ask(model, task, x, seed) for name, x in task.ood.items()}
        figures = measure(test, task.targets, next(iter(ood.values()), None))
        figures["parameters"] = float(sum(weight.numel() for weight in model.parameters()))
        figures |= {"seconds_train": trained - start, "seconds_predict": asked - trained}
        curve = None if task.split is None else task.split.curve
        shown = None if curve is None else _ask(model, task, curve.x, seed)
    return Run(label, seed, test, figures, ood, shown)


def _ask(model: UncertainModel, task: Task, x: Inputs, seed: int) -> Prediction:
    answer = model.predict(x, seed=seed).to("cpu")
    split = task.split
    if split is None or split.task == "classification":
        return answer
    return answer.rescaled(factor=split.y_std, offset=split.y_mean)  # type: ignore[attr-defined,no-any-return]


@contextmanager
def threads_for(x: Batch) -> Iterator[None]:
    """Compute on one thread where examples are small, or where there are but two to share the work.

    The gain is small there, and the loss great: beside one other busy process, two threads that
    wait for each other at each operation took ten times as long to train on MNIST as one.
    """
    threads = torch.get_num_threads()
    inputs = x.values() if isinstance(x, dict) else [x]
    if threads == 2 or sum(each[0].numel() for each in inputs) < _SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
