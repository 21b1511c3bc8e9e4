"""One vectorised step is the loop, up to rounding, and is taken where it can be."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import duda
from tests.training.models import classes, mlp, noisy, regression, seeded_model

SGD = functools.partial(torch.optim.SGD, lr=0.003, momentum=0.9, weight_decay=1e-3)


class Residual(nn.Module):
    """A network with a forward pass of its own, which uses a layer twice."""

    def __init__(self, scale: float = 0.5) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 2)
        self.norm, self.scale = nn.LayerNorm(3), scale

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x + self.scale * F.relu(self.first(self.norm(self.first(x)))))


class Tied(Residual):
    """A network with a layer that has two names."""

    def __init__(self) -> None:
        super().__init__()
        self.again = self.first


class Free(nn.Module):
    """A network with a bare parameter, a scalar one among them."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.1 * torch.randn(3, 2))
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * (x @ self.weight)


class Hidden(nn.Module):
    """A network with functional dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.layer(x), 0.5, self.training)


class Branching(nn.Module):
    """A network that looks at its data."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if x.sum() > 0 else -self.layer(x)


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)
    )


def build(
    network: Callable[[], nn.Module], likelihood: Any = None, members: int = 4
) -> duda.UncertainModel:
    likelihood = likelihood or duda.Gaussian()
    make = functools.partial(duda.DeepEnsemble, network, likelihood, members)
    return seeded_model(make, dtype=torch.float64)


def train_both(
    model: duda.UncertainModel, data: Any, **arguments: Any
) -> tuple[list[Any], list[duda.UncertainModel]]:
    models = [model, copy.deepcopy(model)]
    histories = [
        duda.fit(one, data, batch_size=16, seed=2, vectorize=way, **arguments)
        for one, way in zip(models, (False, True), strict=True)
    ]
    return histories, models


def assert_close(one: nn.Module, other: nn.Module) -> None:
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("network", [mlp, Residual, Free, convolutional])
@pytest.mark.parametrize(
    "optimizer",
    [
        None,
        SGD,
        torch.optim.AdamW,
        torch.optim.RMSprop,
        torch.optim.Adagrad,
        torch.optim.NAdam,
        torch.optim.RAdam,
        torch.optim.Adamax,
        torch.optim.Adadelta,
    ],
)
def test_the_step_is_the_loop(network: Callable[[], nn.Module], optimizer: Any) -> None:
    data = regression(50, torch.float64)
    histories, models = train_both(build(network), data, epochs=3, optimizer=optimizer)
    assert [history.vectorized for history in histories] == [False, True]
    torch.testing.assert_close(histories[0].losses, histories[1].losses)
    assert_close(*models)


def test_rprop_is_the_loop() -> None:
    # Rprop looks at signs, which rounding may turn in small batches: one step says enough.
    data = regression(16, torch.float64)
    _, models = train_both(build(mlp), data, epochs=2, optimizer=torch.optim.Rprop)
    assert_close(*models)


@pytest.mark.parametrize("kind", ["labels", "shares", "ignored", "fixed"])
def test_every_likelihood_has_the_same_step(kind: str) -> None:
    x, y = classes(50, torch.float64)
    likelihood: Any = duda.Categorical()
    target: Tensor = y
    if kind == "shares":
        target = torch.stack([0.3 + 0.4 * y, 0.7 - 0.4 * y], 1)
    elif kind == "ignored":
        likelihood, target = duda.Categorical(ignore_index=-1), y.where(y > 0, -1)
    elif kind == "fixed":
        likelihood, target = duda.FixedGaussian(0.5), x[:, :2]
    histories, models = train_both(build(mlp, likelihood), (x, target), epochs=3)
    torch.testing.assert_close(histories[0].losses, histories[1].losses)
    assert_close(*models)


@pytest.mark.parametrize("patience", [None, 1, 3])
@pytest.mark.parametrize("loader", [False, True])
def test_members_stop_one_by_one(patience: int | None, loader: bool) -> None:
    data, validation = regression(40, torch.float64), regression(30, torch.float64)
    held: Any = DataLoader(TensorDataset(*validation), 16) if loader else validation
    histories, models = train_both(
        build(mlp), data, epochs=25, validation=held, patience=patience, optimizer=SGD
    )
    assert histories[0].best_epochs == histories[1].best_epochs
    lengths = (~histories[0].validation_losses.isnan()).sum(1).tolist()
    assert patience is None or len(set(lengths)) > 1
    for name in ("losses", "validation_losses"):
        one, other = (getattr(history, name) for history in histories)
        torch.testing.assert_close(one, other, equal_nan=True)
    assert_close(*models)


def test_seconds_are_shared() -> None:
    history = duda.fit(build(mlp), regression(), epochs=2, seed=0)
    assert history.vectorized
    assert torch.equal(history.seconds[0], history.seconds[3])


@pytest.mark.parametrize(
    ("make", "arguments", "why"),
    [
        (lambda: build(noisy), {}, "has buffers"),
        (lambda: build(Hidden), {}, "does not run under torch.vmap"),
        (lambda: build(Branching), {}, "does not run under torch.vmap"),
        (lambda: build(Tied), {}, "has two names"),
        (lambda: build(mlp, members=1), {}, "has no members"),
        (lambda: duda.MCDropout(noisy(), duda.Gaussian()), {}, "has no members"),
        (
            lambda: duda.DeepEnsemble([mlp(), nn.Linear(3, 2)], duda.Gaussian()),
            {},
            "differ in structure",
        ),
        (
            lambda: duda.DeepEnsemble([Residual(0.5), Residual(0.6)], duda.Gaussian()),
            {},
            "differ in structure",
        ),
        (lambda: build(lambda: mlp().requires_grad_(True)), {"loader": True}, "no pair of tensors"),
        (lambda: build(mlp), {"optimizer": torch.optim.Adafactor}, "Adafactor is not known"),
        (
            lambda: build(mlp),
            {
                "optimizer": lambda weights: torch.optim.SGD(
                    [{"params": [weight], "lr": 0.1 / weight.ndim} for weight in weights]
                )
            },
            "SGD is not known",
        ),
    ],
)
def test_what_cannot_be_one_step_says_why_and_is_trained_in_turn(
    make: Callable[[], duda.UncertainModel], arguments: dict[str, Any], why: str
) -> None:
    arguments = dict(arguments)
    data: Any = regression()
    if arguments.pop("loader", False):
        data = DataLoader(TensorDataset(*data), 16)
    with pytest.raises(ValueError, match=f"`vectorize` is True, but .*{why}"):
        duda.fit(make(), data, epochs=1, vectorize=True, **arguments)
    history = duda.fit(make(), data, epochs=1, **arguments)
    assert not history.vectorized


def test_members_that_share_weights_are_trained_in_turn() -> None:
    first, second = mlp(), mlp()
    second[0] = first[0]
    model = duda.DeepEnsemble([first, second], duda.Gaussian())
    assert not duda.fit(model, regression(), epochs=1).vectorized


def test_frozen_weights_are_trained_in_turn() -> None:
    model = build(mlp)
    model.members[1][0].requires_grad_(False)
    before = model.members[1][0].weight.clone()
    assert not duda.fit(model, regression(), epochs=1).vectorized
    assert torch.equal(model.members[1][0].weight, before)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (mlp, True),
        (convolutional, False),
        (lambda: nn.Sequential(nn.Linear(3, 60_000), nn.Flatten(), nn.Linear(60_000, 2)), False),
    ],
    ids=["small", "convolutions", "large"],
)
def test_the_faster_way_is_chosen(network: Callable[[], nn.Module], expected: bool) -> None:
    x, y = regression(10)
    assert duda.fit(build(network, members=2), (x, y), epochs=1).vectorized is expected
