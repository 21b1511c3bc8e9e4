"""One run: a method is made, trained and asked, for one seed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from duda.comparison.networks import Recipe, likelihood_for, network_factory
from duda.datasets import Split
from duda.methods import METHODS
from duda.methods.base import UncertainModel
from duda.predictions import GaussianPrediction, Prediction
from duda.reporting import measure
from duda.training import fit

__all__ = ["Run", "in_units", "run", "targets"]


@dataclass(frozen=True, eq=False)
class Run:
    """What one method with one seed gave, in the units of the target.

    Args:
        method: as in `METHODS`.
        seed: of the split, the networks, the training and the draws.
        test: the prediction for the test examples.
        ood: that for inputs from elsewhere, where there are some.
        shown: that for the curve of a problem with one input.
        figures: the metrics, with the seconds.
    """

    method: str
    seed: int
    test: Prediction
    ood: Prediction | None
    shown: Prediction | None
    figures: dict[str, float]


def run(method: str, split: Split, ood: Tensor | None, plan: Recipe, seed: int) -> Run:
    """Train the method on `split`, and ask it about test, foreign and shown inputs.

    The same seed gives the same run, and torch's global random state stays as it was.
    """
    with _one_thread():
        return _run(method, split, ood, plan, seed)


def _run(method: str, split: Split, ood: Tensor | None, plan: Recipe, seed: int) -> Run:
    likelihood = likelihood_for(split)
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(seed)
        model = METHODS[method].from_factory(network_factory(split, likelihood), likelihood)
    start = time.perf_counter()
    fit(model, split.train, epochs=plan.epochs, lr=plan.lr, batch_size=plan.batch_size, seed=seed)
    trained = time.perf_counter()
    test = _ask(model, split, split.test[0], seed)
    asked = time.perf_counter()
    foreign = None if ood is None else _ask(model, split, ood, seed)
    figures = measure(test, targets(split), foreign)
    return Run(
        method,
        seed,
        test,
        foreign,
        None if split.curve is None else _ask(model, split, split.curve.x, seed),
        figures | {"seconds_train": trained - start, "seconds_predict": asked - trained},
    )


def targets(split: Split) -> Tensor:
    """Return the test labels, or the test targets in their own units."""
    return in_units(split, split.test[1])


def in_units(split: Split, y: Tensor) -> Tensor:
    """Return labels as they are, and standardised targets in their own units."""
    return y if split.task == "classification" else split.y_mean + split.y_std * y


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread, as networks this small are no slower on it.

    On two, beside another busy process, training on MNIST took 15 times as long: at each operation
    one thread waits for the other.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _ask(model: UncertainModel, split: Split, x: Tensor, seed: int) -> Prediction:
    answer = model.predict(x, seed=seed)
    if not isinstance(answer, GaussianPrediction):
        return answer
    return GaussianPrediction(
        in_units(split, answer.mean),
        split.y_std**2 * answer.aleatoric,
        split.y_std**2 * answer.epistemic,
    )
