from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from duda import LIKELIHOODS, METHODS, Categorical, Gaussian, fit
from duda.comparison import network_factory, recipe
from duda.comparison.networks import likelihood_for
from duda.datasets import Split, load
from tests.pairs import as_targets


def pictures(channels: int, height: int, width: int) -> Split:
    x, y = torch.rand(6, channels, height, width), torch.arange(6) % 3
    return Split("pictures", "classification", (x, y), (x, y), classes=("a", "b", "c"))


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 9, 13), (3, 30, 17)])
def test_pictures_of_any_size_get_a_network(shape):
    split = pictures(*shape)
    assert network_factory(split, Categorical())()(split.train[0]).shape == (6, 3)


@pytest.mark.parametrize("name", ["digits", "two-moons", "sinusoid", "cubic"])
def test_outputs_fit_the_likelihood(name):
    split = load(name)
    likelihood = likelihood_for(split)
    x, y = split.train
    outputs = network_factory(split, likelihood)()(x[:9])
    assert torch.isfinite(likelihood.loss(outputs, y[:9]))


def test_the_likelihood_follows_the_task():
    assert isinstance(likelihood_for(load("two-moons")), Categorical)
    assert isinstance(likelihood_for(load("cubic")), Gaussian)


def test_each_call_makes_a_new_network_with_dropout():
    factory = network_factory(load("digits"), Categorical())
    one, two = factory(), factory()
    assert one is not two
    assert any(isinstance(module, nn.Dropout) for module in one.modules())
    assert not torch.equal(next(one.parameters()), next(two.parameters()))


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_every_likelihood_fits_one_of_the_tasks(name):
    tasks = []
    x, y = load("cubic").train
    meaning, y = LIKELIHOODS[name](), y / y.std()
    numbers = x, y if meaning.of_classes else as_targets(meaning, y)
    for split in (load("two-moons"), replace(load("cubic"), train=numbers, test=numbers)):
        try:
            likelihood = likelihood_for(split, name)
        except ValueError:
            continue
        tasks.append(split.task)
        x, y = split.train
        outputs = network_factory(split, likelihood)()(x[:5])
        assert torch.isfinite(likelihood.loss(outputs, y[:5]))
    assert len(tasks) == 1


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_made_of_the_factory(method):
    data = "two-moons" if issubclass(Categorical, METHODS[method].likelihoods) else "cubic"
    split = load(data)
    likelihood = likelihood_for(split)
    model = METHODS[method].from_factory(network_factory(split, likelihood), likelihood)
    fit(model, tuple(part[:32] for part in split.train), epochs=2)  # some cannot predict before
    assert len(model.predict(split.test[0][:4], seed=0)) == 4


def test_unknown_sets_are_trained_like_their_kind():
    assert recipe(pictures(1, 8, 8)).epochs == recipe(load("digits")).epochs
    assert recipe(load("sinusoid")) == recipe(load("cubic"))
