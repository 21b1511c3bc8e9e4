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
from duda.likelihoods import Likelihood
from duda.methods import METHODS
from duda.methods.base import UncertainModel
from duda.predictions import LocationScalePrediction, Prediction, QuantilePrediction
from duda.reporting import measure
from duda.sampling import seeded
from duda.training import fit

__all__ = ["Run", "in_units", "run", "targets"]

_SMALL = 256  # numbers in an example


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


def run(
    method: str,
    split: Split,
    ood: Tensor | None,
    plan: Recipe,
    seed: int,
    likelihood: str | None = None,
) -> Run:
    """Train the method on `split`, and ask it about test, foreign and shown inputs.

    The same seed gives the same run, and torch's global random state stays as it was.
    """
    with _threads_for(split):
        return _run(method, split, ood, plan, seed, likelihood_for(split, likelihood))


def _run(
    method: str,
    split: Split,
    ood: Tensor | None,
    plan: Recipe,
    seed: int,
    likelihood: Likelihood,
) -> Run:
    x, y = split.train
    # What torch does once in a process should not count against the first method.
    fit(_made(method, split, seed, likelihood), (x[:2], y[:2]), epochs=1, seed=seed)
    model = _made(method, split, seed, likelihood)
    start = time.perf_counter()
    fit(model, (x, y), epochs=plan.epochs, lr=plan.lr, batch_size=plan.batch_size, seed=seed)
    trained = time.perf_counter()
    test = _ask(model, split, split.test[0], seed)
    asked = time.perf_counter()
    foreign = None if ood is None else _ask(model, split, ood, seed)
    figures = measure(test, targets(split), foreign)
    figures["parameters"] = float(sum(weight.numel() for weight in model.parameters()))
    return Run(
        method,
        seed,
        test,
        foreign,
        None if split.curve is None else _ask(model, split, split.curve.x, seed),
        figures | {"seconds_train": trained - start, "seconds_predict": asked - trained},
    )


def _made(method: str, split: Split, seed: int, likelihood: Likelihood) -> UncertainModel:
    with seeded(seed, []):
        return METHODS[method].from_factory(network_factory(split, likelihood), likelihood)


def targets(split: Split) -> Tensor:
    """Return the test labels, or the test targets in their own units."""
    return in_units(split, split.test[1])


def in_units(split: Split, y: Tensor) -> Tensor:
    """Return labels as they are, and standardised targets in their own units."""
    return y if split.task == "classification" else split.y_mean + split.y_std * y


@contextmanager
def _threads_for(split: Split) -> Iterator[None]:
    """Compute on one thread where examples are small, or where there are but two to share the work.

    The gain is small there, and the loss great: beside one other busy process, two threads that
    wait for each other at each operation took ten times as long to train on MNIST as one.
    """
    threads = torch.get_num_threads()
    if threads == 2 or split.train[0][0].numel() < _SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _ask(model: UncertainModel, split: Split, x: Tensor, seed: int) -> Prediction:
    answer = model.predict(x, seed=seed)
    if isinstance(answer, LocationScalePrediction | QuantilePrediction):
        return answer.rescaled(split.y_std, split.y_mean)
    return answer
