"""Variational inference on MNIST with all defaults: whether it converges, by each estimator.

Run with `python -m benchmarks.variational`, with MNIST in `$DUDA_DATA`. An MLP and a CNN of LeNet's
size should have a test accuracy of at least 0.975 after a handful of epochs, as they do here. With
more epochs the noise grows on to the optimum of the ELBO, where the MLP is less accurate: 0.971
after 20 epochs of "local" draws.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

import duda
from benchmarks.clock import machine
from duda.training import FitState

ESTIMATORS = ("weight", "local", "flipout")
DRAWS = 20


def mlp() -> nn.Module:
    """Return an MLP with 200 hidden units in each of two layers."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 200),
        nn.ReLU(),
        nn.Linear(200, 200),
        nn.ReLU(),
        nn.Linear(200, 10),
    )


def lenet() -> nn.Module:
    """Return LeNet-5 with ReLUs and max pooling. Source: LeCun et al. 1998."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


class Watched(duda.Variational):
    """Notes the test accuracy after each epoch, and the seconds of training up to there."""

    def watch(self, x: Tensor, y: Tensor) -> list[tuple[float, float]]:
        """Start the clock, and return the list that fills with accuracies and seconds."""
        self._test, self._start = (x, y), time.perf_counter()
        self._notes: list[tuple[float, float]] = []
        return self._notes

    def on_epoch_end(self, state: FitState) -> None:
        """Predict, off the clock."""
        stopped = time.perf_counter()
        x, y = self._test
        labels = self.predict(x, samples=DRAWS, seed=0, batch_size=1000).labels
        self._notes.append((float((labels == y).float().mean()), stopped - self._start))
        self._start += time.perf_counter() - stopped


def row(name: str, factory: Callable[[], nn.Module], estimator: str, epochs: int) -> str:
    """Return the test accuracies after each epoch, and the seconds of training."""
    split = duda.datasets.load("mnist")
    torch.manual_seed(0)
    model = Watched(factory(), duda.Categorical(), estimator=estimator)
    notes = model.watch(*split.test)
    duda.fit(model, split.train, epochs=epochs, seed=0)
    accuracies = " ".join(f"{accuracy:.4f}" for accuracy, _ in notes)
    return f"{name:6s} {estimator:8s} {notes[-1][1]:8.0f}   {accuracies}"


def main() -> None:
    """Print a table over networks and estimators."""
    print(f"MNIST, `duda.fit` with all defaults, {DRAWS} draws in the test, {machine()}")
    print("network estimator seconds   accuracy after each epoch")
    for name, factory, epochs in (("MLP", mlp, 6), ("LeNet", lenet, 3)):
        for estimator in ESTIMATORS:
            print(row(name, factory, estimator, epochs), flush=True)


if __name__ == "__main__":
    main()
