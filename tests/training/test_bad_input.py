"""One clear sentence for each thing that `fit` cannot train on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import duda
from tests.training.models import classes, ensemble, mlp, plain, regression, same, values

X, Y = regression()


class Silent(IterableDataset[tuple[Tensor, Tensor]]):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(())


class NoPairs(Dataset[Tensor]):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        return X[index]


class Broken(duda.Deterministic):
    """A model whose loss is NaN from the given call on."""

    calls, wrong = 0, 6

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        return super().loss(x, y) * (math.nan if self.calls >= self.wrong else 1)


def spoiled(value: Tensor, wrong: float) -> Tensor:
    value = value.clone()
    value[3, 0] = wrong
    return value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "`epochs` is 0"),
        ({"epochs": 1.5}, "`epochs` is 1.5"),
        ({"batch_size": 0}, "`batch_size` is 0"),
        ({"lr": -1.0}, "`lr` is -1.0"),
        ({"lr": 0.0}, "`lr` is 0.0"),
        ({"lr": math.nan}, "`lr` is nan"),
        ({"seed": 1.0}, "`seed` is 1.0"),
        ({"patience": 2}, "`patience` is 2, but there is no `validation`"),
        ({"patience": 0, "validation": (X, Y)}, "`patience` is 0"),
        ({"validation": (X[:0], Y[:0])}, "`x of validation` has shape .* is empty"),
        ({"data": (X[:0], Y[:0])}, "`x of data` has shape .* is empty"),
        ({"data": TensorDataset(X[:0], Y[:0])}, "`x of data` has shape .* is empty"),
        ({"data": (X, Y[:-1])}, "`data` has 50 inputs but 49 targets"),
        ({"data": (X, Y[:, :, None])}, r"`y` has shape \(50, 1, 1\), expected \(50, 1\)"),
        ({"data": (spoiled(X, math.nan), Y)}, r"`x of data` has 1 NaN .* index \[3, 0\]"),
        ({"data": (X, spoiled(Y, math.inf))}, r"`y of data` has 0 NaN and 1 infinite"),
        ({"data": (X, 3.0)}, "`y of data` is one number"),
        ({"data": DataLoader(TensorDataset(X, Y), 64, drop_last=True)}, "`data` has no batches"),
        ({"data": Silent()}, "`data` gave no batch"),
        (
            {"data": DataLoader(TensorDataset(spoiled(X, math.nan), Y), 3)},
            "`x of batch 2 of data` has 1 NaN",
        ),
    ],
)
@pytest.mark.parametrize("build", [plain, ensemble])
def test_values(build: Any, arguments: dict[str, Any], message: str) -> None:
    model = build()
    before = values(model)
    call = {"data": (X, Y), "epochs": 2, **arguments}
    with pytest.raises(ValueError, match=message):
        duda.fit(model, call.pop("data"), **call)
    assert same(values(model), before) or "batch 2" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": X}, "`data` is a Tensor, expected a pair"),
        ({"data": None}, "`data` is a NoneType"),
        ({"validation": 0.2}, "`validation` is a float"),
        ({"data": NoPairs()}, "a batch of `data` is a Tensor, expected a pair"),
        ({"optimizer": "adam"}, "`optimizer` is a str, expected a function"),
        ({"optimizer": lambda weights: None}, "`optimizer` made a NoneType"),
        ({"lr": "fast"}, "`lr` is a str"),
        ({"model": mlp()}, "`model` is a Sequential, expected one of duda's"),
    ],
)
def test_types(arguments: dict[str, Any], message: str) -> None:
    call = {"model": plain(), "data": (X, Y), "epochs": 2, **arguments}
    with pytest.raises(TypeError, match=message):
        duda.fit(call.pop("model"), call.pop("data"), **call)


def test_an_optimizer_that_is_one_already() -> None:
    model = plain()
    with pytest.raises(TypeError, match="`optimizer` is a Adam, expected a function"):
        duda.fit(model, (X, Y), epochs=1, optimizer=torch.optim.Adam(model.parameters()))


def test_labels_out_of_range_are_told_before_training() -> None:
    x, y = classes()
    y[40] = 2
    for model in (
        duda.Deterministic(mlp(), duda.Categorical()),
        duda.DeepEnsemble(mlp, duda.Categorical()),
    ):
        with pytest.raises(ValueError, match="`y` holds the label 2, expected 0 to 1"):
            duda.fit(model, (x, y), epochs=1)


@pytest.mark.parametrize("network", [nn.Identity(), mlp().requires_grad_(False)], ids=["no", "off"])
def test_nothing_to_train(network: nn.Module) -> None:
    model = duda.Deterministic(network, duda.FixedGaussian())
    with pytest.raises(ValueError, match="`model` has no parameter"):
        duda.fit(model, (X, X[:, :2]), epochs=1)


def test_nan_loss_names_epoch_and_batch_and_leaves_the_weights_before() -> None:
    model, twin = Broken(mlp(), duda.Gaussian()), plain()
    twin.network.load_state_dict(model.network.state_dict())
    with pytest.raises(FloatingPointError, match="loss is nan in epoch 2, batch 2 of member 1"):
        duda.fit(model, (X, Y), epochs=3, batch_size=13, seed=0)
    assert all(bool(weight.isfinite().all()) for weight in model.parameters())
    assert not same(values(model.network), values(twin.network))
    assert model.training


@pytest.mark.parametrize("vectorize", [True, False])
def test_nan_loss_names_the_member(vectorize: bool) -> None:
    model = ensemble()
    with torch.no_grad():
        model.members[1][2].weight.fill_(1e30)
    others = values(model.members[0])
    with pytest.raises(FloatingPointError, match=r"epoch 1, batch 1 of member 2"):
        duda.fit(model, (X, Y), epochs=2, batch_size=10, seed=0, vectorize=vectorize)
    assert same(values(model.members[0]), others) is vectorize


@pytest.mark.parametrize("vectorize", [True, False])
def test_weights_that_become_infinite_are_told(vectorize: bool) -> None:
    model = ensemble()
    sgd = torch.optim.SGD
    with pytest.raises(FloatingPointError, match=r"weights of member 1 became .* in epoch 1"):
        duda.fit(
            model,
            (X, 1e4 * Y),
            epochs=1,
            batch_size=50,
            optimizer=sgd,
            lr=1e37,
            vectorize=vectorize,
            target_scale=None,
        )


def test_a_validation_loss_that_is_not_finite_is_told() -> None:
    x, y = X.double(), Y.double()
    with pytest.raises(
        FloatingPointError, match="validation loss of member 1 is inf after epoch 1"
    ):
        duda.fit(plain().double(), (x, y), epochs=1, validation=(x, y + 1e200))


def test_a_checkpoint_that_cannot_be_written_is_told_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    model = plain()
    before = values(model)
    with pytest.raises(OSError, match="cannot write"):
        duda.fit(model, (X, Y), epochs=1, checkpoint=tmp_path / "file" / "run.safetensors")
    with pytest.raises(ValueError, match="is a directory"):
        duda.fit(model, (X, Y), epochs=1, checkpoint=tmp_path)
    assert same(values(model), before)


def test_workers_that_outlive_an_epoch_do_not_go_with_a_checkpoint(tmp_path: Path) -> None:
    loader = DataLoader(TensorDataset(X, Y), 8, num_workers=1, persistent_workers=True)
    with pytest.raises(ValueError, match="persistent_workers=False"):
        duda.fit(plain(), loader, epochs=1, checkpoint=tmp_path / "run")
