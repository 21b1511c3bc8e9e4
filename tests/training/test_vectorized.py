"""One vectorised step is the loop, up to rounding."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import duda
from tests.training.models import (
    Residual,
    classes,
    convolutional,
    double_ensemble,
    mlp,
    regression,
    same,
    values,
)
from tests.training.test_checkpoint import cut_off_each_epoch

SGD = functools.partial(torch.optim.SGD, lr=0.003, momentum=0.9, weight_decay=1e-3)


class Free(nn.Module):
    """A network with a bare parameter, a scalar one among them."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.1 * torch.randn(3, 2))
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * (x @ self.weight)


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
    histories, models = train_both(double_ensemble(network), data, epochs=3, optimizer=optimizer)
    assert [history.vectorized for history in histories] == [False, True]
    torch.testing.assert_close(histories[0].losses, histories[1].losses)
    assert_close(*models)


def test_rprop_is_the_loop() -> None:
    # Rprop looks at signs, which rounding may turn in small batches: one step says enough.
    data = regression(16, torch.float64)
    _, models = train_both(double_ensemble(mlp), data, epochs=2, optimizer=torch.optim.Rprop)
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
    histories, models = train_both(double_ensemble(mlp, likelihood), (x, target), epochs=3)
    torch.testing.assert_close(histories[0].losses, histories[1].losses)
    assert_close(*models)


@pytest.mark.parametrize("patience", [None, 1, 3])
@pytest.mark.parametrize("loader", [False, True])
def test_members_stop_one_by_one(patience: int | None, loader: bool) -> None:
    data, validation = regression(40, torch.float64), regression(30, torch.float64)
    held: Any = DataLoader(TensorDataset(*validation), 16) if loader else validation
    histories, models = train_both(
        double_ensemble(mlp), data, epochs=25, validation=held, patience=patience, optimizer=SGD
    )
    assert histories[0].best_epochs == histories[1].best_epochs
    lengths = (~histories[0].validation_losses.isnan()).sum(1).tolist()
    assert patience is None or len(set(lengths)) > 1
    for name in ("losses", "validation_losses"):
        one, other = (getattr(history, name) for history in histories)
        torch.testing.assert_close(one, other, equal_nan=True)
    assert_close(*models)


def test_seconds_are_shared() -> None:
    history = duda.fit(double_ensemble(mlp), regression(), epochs=2, seed=0)
    assert history.vectorized
    assert torch.equal(history.seconds[0], history.seconds[3])


def normalized() -> nn.Module:
    layers = nn.Unflatten(1, (1, 3)), nn.Conv1d(1, 4, 2), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(8, 6), nn.BatchNorm1d(6, affine=False), nn.Linear(6, 2))


@pytest.mark.parametrize("ema", [None, 0.8])
@pytest.mark.parametrize("patience", [None, 2])
def test_statistics_of_batch_norm_are_each_members_own(
    ema: float | None, patience: int | None
) -> None:
    told: list[list[Tensor]] = [[], []]

    class Listener:
        def __init__(self, number: int) -> None:
            self.number = number

        def on_epoch_end(self, state: duda.training.FitState) -> None:
            told[self.number].append(state.model.network[2].running_mean.clone())

    model = double_ensemble(normalized)
    models = [model, copy.deepcopy(model)]
    histories = [
        duda.fit(
            one,
            regression(49, torch.float64),  # of which the last batch takes one more
            epochs=6,
            seed=2,
            vectorize=way,
            lr=0.03,
            training=duda.Training(ema=ema, batch_size=16),
            validation=regression(30, torch.float64),
            patience=patience,
            callbacks=[Listener(number)],
        )
        for number, (one, way) in enumerate(zip(models, (False, True), strict=True))
    ]
    assert histories[0].best_epochs == histories[1].best_epochs
    assert_close(*models)
    if patience is None:
        in_turn = torch.stack(told[0]).view(4, 6, 4).transpose(0, 1).reshape(24, 4)
        torch.testing.assert_close(in_turn, torch.stack(told[1]))


def test_statistics_go_on_with_their_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = functools.partial(double_ensemble, normalized)
    arguments: dict[str, Any] = {"epochs": 3, "seed": 0, "vectorize": True, "batch_size": 16}
    data = functools.partial(regression, 48, torch.float64)
    whole = build()
    duda.fit(whole, data(), **arguments)
    found, _, attempts = cut_off_each_epoch(
        build, tmp_path / "run", monkeypatch, data=data, **arguments
    )
    assert attempts >= 3
    assert same(values(found), values(whole))
