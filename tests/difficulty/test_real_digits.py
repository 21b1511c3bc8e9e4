"""On MNIST with a tenth of the labels flipped, training and predictions tell which ones."""

from __future__ import annotations

import os

import pytest
import torch
from torch import Tensor, nn

import duda
from duda.difficulty import TrainingDynamics, label_errors
from duda.evaluation import rank

EXAMPLES, FLIPPED = 2000, 0.1


def network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10))


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor, Tensor]:
    """Return pictures, labels of which some are wrong, and which ones these are."""
    if not os.environ.get("DUDA_DATA"):
        pytest.skip("DUDA_DATA is not set: it names the folder of real data sets.")
    x, y = (part[:EXAMPLES] for part in duda.datasets.load("mnist").train)
    generator = torch.Generator().manual_seed(0)
    flipped = torch.rand(EXAMPLES, generator=generator) < FLIPPED
    others = (y + torch.randint(1, 10, (EXAMPLES,), generator=generator)) % 10
    return x, torch.where(flipped, others, y), flipped


def test_training_tells_flipped_labels_from_others(digits: tuple[Tensor, Tensor, Tensor]) -> None:
    x, y, flipped = digits
    dynamics = TrainingDynamics(EXAMPLES)
    model = duda.Deterministic(network(), duda.Categorical())
    duda.fit(model, (x, y), epochs=10, seed=0, callbacks=[dynamics])
    assert dynamics.counts.tolist() == [10] * EXAMPLES
    for by, sign in (("action", 1), ("el2n", 1), ("aum", -1), ("confidence", -1)):
        assert rank(sign * dynamics.score(by), flipped).auroc > 0.95, by
    assert flipped[dynamics.hardest(100, by="aum")].double().mean() > 0.9


def test_confident_learning_finds_them_out_of_sample(digits: tuple[Tensor, Tensor, Tensor]) -> None:
    x, y, flipped = digits
    probs = torch.empty(EXAMPLES, 10)
    for fold in range(4):
        held = torch.arange(EXAMPLES) % 4 == fold
        model = duda.Deterministic(network(), duda.Categorical())
        duda.fit(model, (x[~held], y[~held]), epochs=10, seed=0)
        probs[held] = model.predict(x[held]).probs
    found = label_errors(probs, y)
    assert flipped[found.suspect].double().mean() > 0.6
    assert found.suspect[flipped].double().mean() > 0.6
    assert flipped[found.candidates()[:50]].double().mean() > 0.9
