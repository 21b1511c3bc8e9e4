"""Networks and training for the built-in data sets, the same for all methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from duda.comparison.likelihood import find_likelihood
from duda.datasets import Split
from duda.likelihoods import Likelihood

__all__ = ["Recipe", "likelihood_for", "network_factory", "recipe"]

_SMALL_PICTURE = 16  # pixels a side, up to which one pooling is enough


@dataclass(frozen=True)
class Recipe:
    """How long and how to train, with Adam.

    Args:
        epochs: how often each network sees the training data.
        lr: the learning rate.
        batch_size: examples in a step.
    """

    epochs: int
    lr: float
    batch_size: int


_BY_NAME = {
    "mnist": Recipe(epochs=6, lr=1e-3, batch_size=128),
    "fashion-mnist": Recipe(epochs=8, lr=1e-3, batch_size=128),
    "digits": Recipe(epochs=40, lr=1e-3, batch_size=64),
    "two-moons": Recipe(epochs=150, lr=3e-3, batch_size=64),
    "uci:power-plant": Recipe(epochs=30, lr=1e-3, batch_size=64),
}
_CLASSES = Recipe(epochs=40, lr=1e-3, batch_size=64)
_NUMBERS = Recipe(epochs=300, lr=1e-3, batch_size=32)


def recipe(split: Split) -> Recipe:
    """Return how to train on `split`: what is known to do well on it, or on its kind."""
    return _BY_NAME.get(split.name, _CLASSES if split.classes else _NUMBERS)


def likelihood_for(split: Split, name: str | None = None) -> Likelihood:
    """Return what the outputs mean: by default logits of classes, or means and scales of Gaussians.

    Raises:
        ValueError: if there is no likelihood of this `name`, or it does not fit the task.
    """
    of = f"{split.name}, which is a {split.task}"
    return find_likelihood(name, split.test[1], of, len(split.classes))[1]


def network_factory(split: Split, likelihood: Likelihood) -> Callable[[], nn.Module]:
    """Return a function that makes a new small network with dropout: a CNN or an MLP.

    >>> import duda
    >>> import torch
    >>> from duda.datasets import load
    >>> network_factory(load("two-moons"), duda.Categorical())()(torch.zeros(5, 2)).shape
    torch.Size([5, 2])
    """
    x, y = split.test
    classes = len(split.classes)
    outputs = likelihood.width_of_classes(classes) if classes else likelihood.width(y.shape[1])
    if x.ndim == 4:
        return partial(_convolutional, x.shape[1], x.shape[2], x.shape[3], outputs)
    # Dropout blurs a regression's mean, so there is less of it.
    return partial(_perceptron, x.shape[1], outputs, dropout=0.2 if split.classes else 0.02)


def _perceptron(inputs: int, outputs: int, dropout: float) -> nn.Module:
    return nn.Sequential(
        nn.Linear(inputs, 128),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(128, outputs),
    )


def _convolutional(channels: int, height: int, width: int, outputs: int) -> nn.Module:
    small = max(height, width) <= _SMALL_PICTURE
    shrink = 2 if small else 4
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.ReLU(),
        nn.Identity() if small else nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(32 * (height // shrink) * (width // shrink), 128),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Linear(128, outputs),
    )
