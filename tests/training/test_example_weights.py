"""Weights of examples: one that counts twice is as two, and one that counts nothing is none."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import duda
from duda import Training
from duda.likelihoods import LIKELIHOODS
from tests.pairs import as_targets, takes_labels
from tests.training.models import (
    double_ensemble,
    dropping,
    ensemble,
    mlp,
    plain,
    regression,
    same,
    seeded_model,
    values,
)

X, Y = regression(30)
WEIGHTS = torch.rand(30, generator=torch.Generator().manual_seed(0)) + 0.1


def outputs_and_targets(name: str) -> tuple[Any, Tensor, Tensor]:
    likelihood = LIKELIHOODS[name]()
    generator = torch.Generator().manual_seed(0)
    if takes_labels(likelihood):
        width = likelihood.width_of_classes(3)
        y = torch.randint(0, 3, (6,), generator=generator)
    else:
        width = likelihood.width(2)
        y = as_targets(likelihood, torch.randn(6, 2, generator=generator))
    return likelihood, torch.randn(6, width, generator=generator), y


@pytest.mark.parametrize("name", sorted(set(LIKELIHOODS) - {"sampled-softmax"}))
def test_the_loss_is_the_mean_of_what_examples_add(name: str) -> None:
    likelihood, outputs, y = outputs_and_targets(name)
    loss = likelihood.loss(outputs, y)
    torch.testing.assert_close(likelihood.losses_by_example(outputs, y).mean(), loss)
    ones = torch.ones(6)
    torch.testing.assert_close(likelihood.loss(outputs, y, 1.0, ones), loss)
    # Each counts as often as its weight says.
    often = torch.tensor([2, 0, 1, 3, 0, 0])
    repeated = likelihood.loss(outputs.repeat_interleave(often, 0), y.repeat_interleave(often, 0))
    torch.testing.assert_close(likelihood.loss(outputs, y, 1.0, often), repeated)


@pytest.mark.parametrize("likelihood", [duda.Categorical(255), duda.Bernoulli(ignore_index=255)])
def test_positions_that_do_not_count_have_no_weight(likelihood: Any) -> None:
    pixels = isinstance(likelihood, duda.Categorical)
    outputs = torch.randn(4, 3, *([5] if pixels else []))
    y = torch.randint(0, 2, (4, 5 if pixels else 3))
    y[0], y[1, 1:] = 255, 255
    each = likelihood.losses_by_example(outputs, y)
    torch.testing.assert_close(each.mean(), likelihood.loss(outputs, y))
    assert float(each[0]) == 0.0


@pytest.mark.parametrize("build", [plain, dropping, ensemble], ids=["plain", "noisy", "one step"])
def test_equal_weights_change_nothing(build: Any) -> None:
    models = [build(), build()]
    for model, weight in zip(models, (None, np.ones(30)), strict=True):
        duda.fit(model, (X, Y), epochs=3, seed=0, batch_size=12, sample_weight=weight)
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("method", duda.METHODS)
def test_every_method_leaves_out_what_counts_nothing(method: str) -> None:
    kind = duda.METHODS[method]
    x, y = X, (Y[:, 0] > 0).long()
    wrong = torch.cat([y, 1 - y])
    weight = torch.cat([torch.full((30,), 2.0), torch.zeros(30)])
    losses = []
    for data, each in (((x, y), None), ((torch.cat([x, x]), wrong), weight)):

        def network() -> nn.Module:
            return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 3))

        model = seeded_model(lambda: kind.from_factory(network, duda.Categorical())).train()
        model.on_fit_start(duda.training.FitState(examples=30))
        model.on_epoch_start(duda.training.FitState(examples=30))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            losses.append(float(model.loss(*data, each).detach()))
    assert losses[1] == pytest.approx(losses[0], rel=0.25 if method in _RANDOM else 1e-4)


_RANDOM = {"mc-dropconnect", "variational", "sde-net", "duq"}


def test_members_in_one_step_weigh_as_in_turn() -> None:
    models = [(first := double_ensemble(mlp)), copy.deepcopy(first)]
    for model, way in zip(models, (False, True), strict=True):
        duda.fit(
            model,
            regression(30, torch.float64),
            epochs=3,
            seed=0,
            batch_size=12,
            vectorize=way,
            sample_weight=WEIGHTS,
        )
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


class Named(Dataset[dict[str, Tensor]]):
    def __len__(self) -> int:
        return 30

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        return {"input": X[i], "labels": Y[i], "weight": WEIGHTS[i]}


class Triples(Dataset[tuple[Tensor, ...]]):
    def __len__(self) -> int:
        return 30

    def __getitem__(self, i: int) -> tuple[Tensor, ...]:
        return X[i], Y[i], WEIGHTS[i]


def _triple(item: Any) -> Any:
    return (item[0],), {"weight": item[2]}, item[1]


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (Named(), None),
        ({"input": X, "labels": Y, "weight": WEIGHTS}, None),
        (Triples(), _triple),
        (DataLoader(Triples(), 30), _triple),
        ((X, Y, WEIGHTS), _triple),
    ],
    ids=["named", "dict", "triples", "loader", "tensors"],
)
def test_weights_may_be_among_the_inputs(data: Any, rule: Any, tmp_path: Path) -> None:
    models = [plain(mlp), plain(mlp)]
    settings: dict[str, Any] = {"epochs": 2, "seed": 0, "batch_size": 30}
    duda.fit(models[0], (X, Y), sample_weight=WEIGHTS, **settings)
    duda.fit(
        models[1],
        data,
        sample_weight="weight",
        inputs=rule,
        validation=data,
        checkpoint=tmp_path / "run",
        **settings,
    )
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_other_weights_are_another_run(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"epochs": 1, "seed": 0, "checkpoint": tmp_path / "run"}
    duda.fit(plain(), (X, Y), sample_weight=WEIGHTS, **settings)
    duda.fit(plain(), (X, Y), sample_weight=WEIGHTS, **settings)
    for other in (None, 2 * WEIGHTS):
        with pytest.raises(ValueError, match="is of another run: its data is"):
            duda.fit(plain(), (X, Y), sample_weight=other, **settings)


@pytest.mark.parametrize(
    ("weight", "error", "message"),
    [
        (-WEIGHTS, ValueError, "`sample_weight` holds -0.*expected finite numbers of at least 0"),
        (torch.full((30,), torch.inf), ValueError, "`sample_weight` holds inf"),
        (torch.full((30,), torch.nan), ValueError, "`sample_weight` holds nan"),
        (torch.zeros(30), ValueError, "`sample_weight` is zero for all examples"),
        (WEIGHTS[:9], ValueError, r"`sample_weight` has shape \(9,\), expected \(30,\)"),
        (WEIGHTS[:, None], ValueError, r"`sample_weight` has shape \(30, 1\), expected \(30,\)"),
        ("weight", ValueError, "`sample_weight` is 'weight', but the inputs have no names"),
    ],
)
def test_weights_that_are_none(weight: Any, error: Any, message: str) -> None:
    model = plain()
    before = values(model)
    with pytest.raises(error, match=message):
        duda.fit(model, (X, Y), epochs=1, sample_weight=weight)
    assert same(before, values(model))


def test_weights_of_batches_are_checked_too() -> None:
    def negative(item: Any) -> Any:
        return (item[0],), {"weight": -item[2]}, item[1]

    with pytest.raises(ValueError, match="`weight` holds -0"):
        duda.fit(plain(), Triples(), epochs=1, inputs=negative, sample_weight="weight")
    with pytest.raises(TypeError, match="`sample_weight` is a Tensor, but `data` gives its exam"):
        duda.fit(plain(), Triples(), epochs=1, inputs=_triple, sample_weight=WEIGHTS)


def test_a_loss_that_takes_no_weights_is_told() -> None:
    class Own(duda.Deterministic):
        def training_loss(self, x: Any, y: Tensor) -> Tensor:
            return (self(x)[:, :1] - y).square().mean()

    model = Own(mlp(), duda.Gaussian())
    with pytest.raises(ValueError, match="`weight` is given, but this model's loss takes none"):
        duda.fit(model, (X, Y), epochs=1, training=Training(), sample_weight=WEIGHTS)
