"""Captured networks whose weights differ by draw: what comes before these runs once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import duda
from duda.graphs import NotCaptured
from tests.sampling.networks import WIDTH, Body, SelfAttention, encoder

X = torch.randn(5, 4, WIDTH, generator=torch.Generator().manual_seed(0))
PICTURES = torch.randn(5, 2, 6, 6, generator=torch.Generator().manual_seed(0))


class Tied(nn.Module):
    """Has one weight under two names, of which one layer and a product use it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.second.weight = self.first.weight
        self.last = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.second(self.first(x).relu()).relu()
        return self.last(h @ self.first.weight.T).mean(1)


class Embedded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.last = nn.Embedding(9, WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.embedding(x).mean(1))


class InAndOut(nn.Module):
    """Two inputs, of which one goes around the hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor, mask: Tensor) -> dict[str, Tensor]:
        return {"logits": self.last(self.first(x).relu() * mask)}


def mlp() -> nn.Module:
    return Body(nn.Sequential(nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU()))


def convolutional() -> nn.Module:
    trunk = nn.Sequential(nn.Conv2d(2, 4, 3, padding="same"), nn.ReLU(), nn.Conv2d(4, 4, 3))
    norm = nn.BatchNorm2d(4)
    norm.running_mean = torch.rand(4)
    return nn.Sequential(trunk, norm, nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))


def noisy() -> nn.Module:
    return Body(lambda m, h: h + torch.randn_like(h))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "mlp": (mlp, X),
    "convolutional": (convolutional, PICTURES),
    "tied": (Tied, X),
    "embedding": (Embedded, torch.randint(9, (5, 4))),
    "several inputs": (InAndOut, {"x": X[:, 0], "mask": torch.rand(5, WIDTH)}),
    "transposed": (
        lambda: nn.Sequential(nn.ConvTranspose2d(2, 2, 2), nn.Flatten(), nn.Linear(98, 3)),
        PICTURES,
    ),
    "noise of its own": (noisy, X),
    "in double precision": (lambda: mlp().double(), X.double()),
}
METHODS: dict[str, Callable[[nn.Module], duda.UncertainModel]] = {
    "drop-connect": lambda network: duda.MCDropConnect(network, duda.Categorical(), 0.3, samples=5),
    "biases too": lambda network: duda.MCDropConnect(
        network, duda.Categorical(), 0.3, samples=5, bias=True
    ),
    "the last layers": lambda network: duda.MCDropConnect(
        network, duda.Categorical(), 0.3, deterministic_layers=1, samples=5
    ),
} | {
    estimator: lambda network, estimator=estimator: duda.Variational(
        network, duda.Categorical(), estimator=estimator, samples=5, initial_std=0.3
    )
    for estimator in ("weight", "local", "flipout")
}


def draws(model: duda.UncertainModel, x: Any, **options: Any) -> Tensor:
    return model.predict(x, seed=0, keep_draws=True, **options).draws


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("method", METHODS)
def test_draws_are_those_of_the_network(name: str, method: str, runs: list[str]) -> None:
    make, x = NETWORKS[name]
    torch.manual_seed(0)
    model = METHODS[method](make())
    options: list[dict[str, Any]] = [{}, {"chunk": 2}, {"batch_size": 3}]
    expected = [draws(model, x, **each) for each in options]
    model.prepare(x)
    runs.clear()
    for one, each in zip(expected, options, strict=True):
        torch.testing.assert_close(draws(model, x, **each), one)
    assert set(runs) == {"CapturedRunner"}


@pytest.mark.parametrize("method", ["drop-connect", "weight"])
@pytest.mark.parametrize("make", [lambda: Body(encoder()), lambda: Body(SelfAttention(True))])
def test_weights_of_attention_are_drawn(
    method: str, make: Callable[[], nn.Module], runs: list[str]
) -> None:
    model = METHODS[method](make())
    expected = draws(model, X)
    model.prepare(X)
    runs.clear()
    torch.testing.assert_close(draws(model, X), expected)
    assert set(runs) == {"CapturedRunner"}


def test_what_is_before_the_drawn_layers_runs_once() -> None:
    model = duda.MCDropConnect(
        convolutional(), duda.Categorical(), layers="4", samples=50, p=0.3
    ).prepare(PICTURES)
    [plan] = duda.sampling.captures.plans._plans[model.network].values()
    names = {str(node.target) for node in plan._drawn.operators}
    assert names == {"aten.linear.default"}


def test_members_of_a_batch_ensemble_are_draws(runs: list[str]) -> None:
    model = duda.BatchEnsemble(mlp(), duda.Categorical(), members=3)
    expected = draws(model, X)
    model.prepare(X)
    runs.clear()
    torch.testing.assert_close(draws(model, X), expected)
    assert set(runs) == {"CapturedRunner"}


def test_widths_that_change_count(runs: list[str]) -> None:
    model = METHODS["weight"](mlp()).prepare(X)
    with torch.no_grad():
        model.raw_stds[0].add_(1.0)
        model.network.first.weight.mul_(2)
    other = copy.deepcopy(model)
    expected = draws(other, X)
    runs.clear()
    torch.testing.assert_close(draws(model, X), expected)
    assert set(runs) == {"CapturedRunner"}


def test_another_choice_of_layers_is_another_plan(runs: list[str]) -> None:
    network = mlp()
    METHODS["drop-connect"](network).prepare(X)
    other = duda.MCDropConnect(network, duda.Categorical(), 0.3, layers="last", samples=5)
    expected = draws(
        duda.MCDropConnect(
            copy.deepcopy(network), duda.Categorical(), 0.3, layers="last", samples=5
        ),
        X,
    )
    runs.clear()
    torch.testing.assert_close(draws(other, X), expected)
    assert set(runs) == {"_Runner"}


def test_weights_that_are_no_longer_one_drop_the_plan(runs: list[str]) -> None:
    model = METHODS["drop-connect"](Tied()).prepare(X)
    model.network.second.weight = nn.Parameter(torch.ones(WIDTH, WIDTH))
    expected = draws(METHODS["drop-connect"](copy.deepcopy(model.network)), X)
    runs.clear()
    torch.testing.assert_close(draws(model, X), expected)
    assert set(runs) == {"_Runner"}


def test_joint_draws_of_noisy_outputs_are_of_whole_weights(runs: list[str]) -> None:
    model = METHODS["local"](mlp())
    expected = draws(model, X, joint=True)
    model.prepare(X)
    torch.testing.assert_close(draws(model, X, joint=True), expected)


def test_layers_of_attention_that_draw_outputs_are_told() -> None:
    model = METHODS["local"](Body(SelfAttention(True)))
    expected = draws(model, X)
    with pytest.raises(NotCaptured, match="a draw of the graph is another"):
        model.prepare(X)
    torch.testing.assert_close(draws(model, X), expected)
