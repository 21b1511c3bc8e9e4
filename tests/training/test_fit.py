"""What `fit` does for every method: learn, repeat, stop early, and leave the rest alone."""

from __future__ import annotations

import copy
import functools
import logging
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import duda
from duda.likelihoods import LIKELIHOODS
from duda.methods import METHODS
from duda.sampling import preserved
from duda.training import FitState
from duda.training.data import prepare
from duda.training.sending import fits
from tests.pairs import PAIRS, as_targets, takes_labels
from tests.training.models import (
    classes,
    dropping,
    ensemble,
    mlp,
    noisy,
    plain,
    regression,
    same,
    seeded_model,
    values,
)

BUILDERS = {"plain": plain, "dropping": dropping, "ensemble": ensemble}


class Rows(Dataset[tuple[Tensor, Tensor]]):
    """A data set of its own kind, with random numbers in its items."""

    def __init__(self, noise: float = 0.0) -> None:
        self.x, self.y = regression()
        self.noise = noise

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index] + self.noise * torch.randn(3), self.y[index]


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    """A data set that does not know its length."""

    def __iter__(self) -> Any:
        yield from zip(*regression(), strict=True)


@pytest.mark.parametrize(("method", "likelihood"), PAIRS)
def test_every_method_learns_with_every_likelihood(method: str, likelihood: str) -> None:
    meaning = LIKELIHOODS[likelihood]()
    labels = takes_labels(meaning)
    x, y = classes(200) if labels else regression(200)
    y = as_targets(meaning, y)

    def factory() -> nn.Module:
        width = meaning.width(2 if labels else 1)
        return nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, width))

    model = seeded_model(lambda: METHODS[method].from_factory(factory, meaning))
    parts = model.independent()
    before = [loss_in_full(part, x, y) for part in parts]
    history = duda.fit(model, (x, y), epochs=12, lr=0.02, batch_size=32, seed=0)
    assert history.losses.shape == history.seconds.shape == (len(parts), 12)
    assert history.validation_losses is None
    assert bool((history.seconds > 0).all())
    assert history.best_epochs == [12] * len(parts)
    assert len(repr(history)) < 100
    after = [loss_in_full(part, x, y) for part in parts]
    assert all(b < a - 0.05 for a, b in zip(before, after, strict=True)), (before, after)


def loss_in_full(model: duda.UncertainModel, x: Tensor, y: Tensor) -> float:
    """Return the loss in eval mode, where terms that grow are full-grown."""
    model.on_epoch_start(FitState(examples=len(x)))
    with preserved(model, seed=0):
        return float(model.loss(x, y))


def test_losses_are_the_means_that_a_plain_loop_has() -> None:
    model, twin = plain(), plain()
    x, y = regression()
    history = duda.fit(
        model,
        (x, y),
        epochs=1,
        batch_size=len(x),
        validation=(x, y),
        optimizer=torch.optim.SGD,
        target_scale=None,
    )
    optimizer = torch.optim.SGD(twin.parameters())
    loss = twin.loss(x, y)
    loss.backward()
    optimizer.step()
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value)
    assert history.losses.item() == pytest.approx(loss.item(), rel=1e-5)
    assert history.validation_losses is not None
    assert history.validation_losses.item() == pytest.approx(twin.loss(x, y).item(), rel=1e-5)


@pytest.mark.parametrize("batch_size", [7, 50, 64])
def test_an_epoch_sees_every_example_once_in_an_order_of_its_own(batch_size: int) -> None:
    seen: list[Tensor] = []

    class Watched(duda.Deterministic):
        def loss(self, x: Tensor, y: Tensor) -> Tensor:
            seen.append(x.clone())
            return super().loss(x, y)

    x, y = regression()
    model = Watched(mlp(), duda.Gaussian())
    duda.fit(model, (x, y), epochs=2, batch_size=batch_size, seed=3)
    rows = torch.cat(seen)
    assert len(rows) == 2 * len(x)
    first, second = rows[: len(x)], rows[len(x) :]
    assert not torch.equal(first, second)
    assert not torch.equal(first, x)
    for epoch in (first, second):
        assert torch.equal(epoch.sort(0).values, x.sort(0).values)


@pytest.mark.parametrize("kind", BUILDERS)
def test_a_seed_repeats_a_run_and_leaves_the_global_state_alone(kind: str) -> None:
    results = []
    for seed in (0, 0, 1, -1):
        model = BUILDERS[kind]()
        before = torch.get_rng_state()
        history = duda.fit(model, regression(), epochs=2, batch_size=16, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        assert history.seed == seed
        results.append(values(model))
        torch.rand(1)
    assert same(results[0], results[1])
    assert not same(results[0], results[2])
    assert not same(results[2], results[3])


@pytest.mark.parametrize("data", [regression(), Rows(0.1)], ids=["tensors", "dataset"])
def test_without_a_seed_the_global_generator_repeats_a_run(data: Any) -> None:
    results = []
    with torch.random.fork_rng():
        for seed in (5, 5, 6):
            model = dropping()
            torch.manual_seed(seed)
            duda.fit(model, data, epochs=2)
            results.append(values(model))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


def test_members_differ_in_order_and_not_with_their_number() -> None:
    network = mlp()
    twins = [copy.deepcopy(network) for _ in range(3)]
    three = duda.DeepEnsemble(twins, duda.Gaussian())
    two = duda.DeepEnsemble([copy.deepcopy(network) for _ in range(2)], duda.Gaussian())
    for model in (three, two):
        duda.fit(model, regression(), epochs=2, batch_size=8, seed=0, vectorize=False)
    assert not torch.equal(three.members[0][0].weight, three.members[1][0].weight)
    for i in range(2):
        assert torch.equal(three.members[i][0].weight, two.members[i][0].weight)


def test_inputs_come_as_arrays_lists_datasets_and_loaders() -> None:
    x, y = regression()
    sources = {
        "tensors": (x, y),
        "arrays": (x.double().numpy(), y.numpy()),
        "list": [x.tolist(), y.tolist()],
        "tensor data set": TensorDataset(x, y),
    }
    results = {}
    for name, data in sources.items():
        model = plain()
        duda.fit(model, data, epochs=2, batch_size=16, seed=0)
        results[name] = values(model)
    assert all(same(results["tensors"], result) for result in results.values())
    for data in (Rows(), DataLoader(Rows(), 16, num_workers=2), Stream(), DataLoader(Stream(), 8)):
        model = plain()
        history = duda.fit(model, data, epochs=3, lr=0.01, batch_size=16, validation=Rows(), seed=0)
        assert float(history.losses[0, -1]) < float(history.losses[0, 0])


def test_a_loader_in_order_trains_on_its_batches() -> None:
    x, y = regression()
    loader = DataLoader(TensorDataset(x, y), 20, drop_last=True)
    model, twin = plain(), plain()
    duda.fit(model, loader, epochs=1, optimizer=torch.optim.SGD, lr=0.1, target_scale=None)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
    for rows in (slice(0, 20), slice(20, 40)):
        optimizer.zero_grad()
        twin.loss(x[rows], y[rows]).backward()
        optimizer.step()
    assert same(values(model), values(twin))


def test_a_loaders_own_generator_decides_its_order_and_stays_as_it_was() -> None:
    results = []
    for seed, own in ((0, 7), (1, 7), (0, 8)):
        generator = torch.Generator().manual_seed(own)
        before = generator.get_state()
        loader = DataLoader(Rows(), 8, shuffle=True, generator=generator)
        model = plain()
        duda.fit(model, loader, epochs=2, seed=seed)
        assert torch.equal(generator.get_state(), before)
        assert generator.initial_seed() == own
        results.append(values(model))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


@pytest.mark.parametrize("kind", BUILDERS)
def test_modes_and_gradients_are_left_as_they_were(kind: str) -> None:
    model = BUILDERS[kind]()
    model.eval()
    next(model.modules()).training = True
    modes = [module.training for module in model.modules()]
    duda.fit(model, regression(), epochs=1, validation=regression(20))
    assert [module.training for module in model.modules()] == modes
    assert all(weight.grad is None for weight in model.parameters())


def test_training_is_in_training_mode_and_validation_in_eval_mode() -> None:
    modes = []

    class Watched(duda.Deterministic):
        def forward(self, x: Tensor) -> Tensor:
            modes.append((self.network.training, torch.is_grad_enabled()))
            return super().forward(x)

    with torch.no_grad():
        duda.fit(Watched(mlp(), duda.Gaussian()), regression(), epochs=2, validation=regression(20))
    assert modes == [
        *[(False, False)] * 2,
        *[(True, True), (False, False)] * 2,
    ]  # at first dry runs


@pytest.mark.parametrize("kind", BUILDERS)
def test_the_best_epoch_is_restored(kind: str) -> None:
    def train(epochs: int, patience: int | None) -> tuple[Any, duda.UncertainModel]:
        model = BUILDERS[kind]()
        history = duda.fit(
            model,
            regression(30),
            epochs=epochs,
            lr=0.1,
            batch_size=8,
            validation=regression(20),
            patience=patience,
            seed=1,
        )
        return history, model

    history, model = train(60, 3)
    losses = history.validation_losses
    assert losses.isnan().any(0).sum() > 0 or losses.shape[1] < 60
    for member, best in enumerate(history.best_epochs):
        row = losses[member][~losses[member].isnan()]
        assert best == int(row.argmin()) + 1
        assert len(row) == min(best + 3, 60)
        again, stopped = train(best, None)
        part, twin = model.independent()[member], stopped.independent()[member]
        assert torch.equal(again.validation_losses[member], row[:best])
        assert same(values(part), values(twin))


def test_frozen_weights_stay() -> None:
    model = plain()
    model.network[0].requires_grad_(False)
    before = model.network[0].weight.clone()
    duda.fit(model, regression(), epochs=2)
    assert torch.equal(model.network[0].weight, before)


@pytest.mark.parametrize(
    ("optimizer", "lr"),
    [
        (None, None),
        (None, 0.1),
        (torch.optim.SGD, 0.1),
        (functools.partial(torch.optim.SGD, lr=0.2, momentum=0.9), None),
        (lambda weights: torch.optim.AdamW(weights, lr=0.3), None),
    ],
)
def test_optimizers_get_the_rate_that_is_given(optimizer: Any, lr: float | None) -> None:
    model, twin = plain(), plain()
    x, y = regression()
    options = {"optimizer": optimizer, "lr": lr, "target_scale": None}
    duda.fit(model, (x, y), epochs=1, batch_size=50, seed=0, **options)
    made = (optimizer or torch.optim.Adam)(twin.parameters(), **({"lr": lr} if lr else {}))
    twin.loss(x, y).backward()
    made.step()
    for name, value in twin.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value)


def test_the_models_dtype_counts() -> None:
    model = plain().double()
    history = duda.fit(model, regression(), epochs=1)
    assert model.network[0].weight.dtype == torch.float64
    assert np.isfinite(history.losses.numpy()).all()


def test_buffers_learn_too() -> None:
    model = plain(noisy)
    duda.fit(model, regression(), epochs=2, batch_size=10)
    assert int(model.network[1].num_batches_tracked) == 10


def test_batches_for_a_gpu_are_pinned_before_they_are_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pinned: list[int] = []

    def pin_memory(self: Tensor) -> Tensor:
        pinned.append(len(self))
        return self

    monkeypatch.setattr(Tensor, "pin_memory", pin_memory)
    monkeypatch.setattr("duda.training.sending.sent", lambda values, *_: values)
    found = prepare(
        DataLoader(TensorDataset(*regression(8)), 4),
        4,
        torch.device("cuda"),
        torch.float32,
        "data",
        False,
    )
    assert [len(y) for _, y in found.in_order()] == [4, 4]
    assert pinned == [4, 4]


def test_inputs_too_large_for_a_gpu_are_told_by_what_it_has_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x, free = regression(8)[0], [2 * 8 * 3 * 4]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[0], 10**9))
    assert fits(x, torch.device("cuda"))
    free[0] -= 1
    assert not fits({"a": x}, torch.device("cuda"))
    assert fits(x, torch.device("cpu"))


def test_inputs_on_the_host_train_the_same_weights(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    models = [ensemble(), ensemble()]
    settings: dict[str, Any] = {"epochs": 2, "seed": 0, "batch_size": 16}
    settings |= {"validation": regression(20), "sample_weight": torch.ones(50)}
    duda.fit(models[0], regression(), vectorize=False, **settings)
    monkeypatch.setattr("duda.training.data.fits", lambda *_: False)
    with caplog.at_level(logging.INFO, "duda"):
        history = duda.fit(models[1], regression(), **settings)
    assert not history.vectorized
    assert same(values(models[0]), values(models[1]))
    assert "the inputs of `data` stay on the host" in caplog.text
    assert "one after the other, because the device has no room for the inputs" in caplog.text
