"""A last batch of one example, which BatchNorm cannot take, and batches that are left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import duda
from duda.hooks import FitState
from duda.methods import METHODS
from duda.training.last_batch import last_joined
from tests.training.models import classes, mlp, noisy, regression, same, seeded_model, values
from tests.training.test_checkpoint import cut_off_each_epoch

X, Y = classes(33)
ROWS = TensorDataset(X, Y)


class Items(Dataset[tuple[Tensor, Tensor]]):
    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return X[index], Y[index]


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(X, Y, strict=True)


class Whole(Dataset[tuple[Tensor, Tensor]]):
    """Two batches, the second with one example."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return [(X[:32], Y[:32]), (X[32:], Y[32:])][index]


DATA: dict[str, Callable[[], Any]] = {
    "tensors": lambda: (X, Y),
    "a data set": Items,
    "a loader": lambda: DataLoader(ROWS, 32),
    "a stream": lambda: DataLoader(Stream(), 32),
    "whole batches": lambda: DataLoader(Whole(), batch_size=None),
}


class MyBatchNorm(nn.Module):
    """A BatchNorm of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("variance", torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.mean, self.variance, training=self.training)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "torch": noisy,
    "without weights": lambda: nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4, affine=False), nn.Linear(4, 2)
    ),
    "own": lambda: nn.Sequential(nn.Linear(3, 4), MyBatchNorm(), nn.Linear(4, 2)),
}


class Sizes:
    """Notes how many examples each step had."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def watch(self, model: duda.UncertainModel) -> Sizes:
        def note(_: Any, args: tuple[Tensor, ...]) -> None:
            if model.training:
                self.sizes.append(len(args[0]))

        model.network.register_forward_pre_hook(note)
        return self


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("kind", DATA)
def test_it_is_joined_to_the_one_before(kind: str, network: str) -> None:
    model = duda.Deterministic(NETWORKS[network](), duda.Categorical())
    seen = Sizes().watch(model)
    told: list[FitState] = []

    class Told:
        def on_step_end(self, state: FitState) -> None:
            told.append(state)

    duda.fit(model, DATA[kind](), epochs=2, batch_size=32, callbacks=[Told()])
    assert seen.sizes == [33, 33]
    assert [state.step for state in told] == [1, 2]


@pytest.mark.parametrize("kind", DATA)
def test_it_is_a_step_of_its_own_without_batch_norm(kind: str) -> None:
    model = duda.Deterministic(mlp(), duda.Categorical())
    seen = Sizes().watch(model)
    duda.fit(model, DATA[kind](), epochs=2, batch_size=32)
    assert seen.sizes == [32, 1, 32, 1]


@pytest.mark.parametrize("batch_size", [16, 8, 4, 2])
def test_only_the_last_one(batch_size: int) -> None:
    expected = [batch_size] * (32 // batch_size - 1) + [batch_size + 1]
    for data in ((X, Y), Items(), DataLoader(Stream(), batch_size)):
        model = duda.Deterministic(noisy(), duda.Categorical())
        seen = Sizes().watch(model)
        duda.fit(model, data, epochs=1, batch_size=batch_size)
        assert seen.sizes == expected
        assert int(model.network[1].num_batches_tracked) == len(expected)


def test_batches_of_one_stay_where_positions_are_enough() -> None:
    x, y = torch.randn(5, 3, 7), torch.arange(5) % 2
    for data in ((x, y), DataLoader(TensorDataset(x, y), 1), DataLoader(Stream3(x, y), 1)):
        network = nn.Sequential(
            nn.Conv1d(3, 4, 1),
            nn.BatchNorm1d(4),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            nn.Linear(4, 2),
        )
        model = duda.Deterministic(network, duda.Categorical())
        seen = Sizes().watch(model)
        duda.fit(model, data, epochs=1, batch_size=1)
        assert seen.sizes == [1] * 5


class Stream3(Stream):
    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.pairs = list(zip(x, y, strict=True))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from self.pairs


def test_batches_that_do_not_fit_stay_apart() -> None:
    pairs = [({"a": torch.zeros(2, 5)}, torch.zeros(2)), ({"a": torch.zeros(1, 4)}, torch.zeros(1))]
    assert [len(y) for _, y in last_joined(pairs)] == [2, 1]
    fitting = [({"a": torch.zeros(2, 4)}, torch.zeros(2)), pairs[1]]
    ((x, y),) = last_joined(fitting)
    assert x["a"].shape == (3, 4)
    assert len(y) == 3
    assert list(last_joined([])) == []
    assert [len(y) for _, y in last_joined(pairs[1:])] == [1]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_takes_it(method: str) -> None:
    model = METHODS[method].from_factory(noisy, duda.Categorical())
    history = duda.fit(model, (X, Y), epochs=2, batch_size=32)
    assert bool(history.losses.isfinite().all())


def test_runs_that_are_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make() -> duda.UncertainModel:
        return seeded_model(lambda: duda.Deterministic(noisy(), duda.Categorical()))

    whole = make()
    duda.fit(whole, (X, Y), epochs=3, batch_size=16, seed=1)
    found, _, _ = cut_off_each_epoch(
        make, tmp_path / "run", monkeypatch, data=lambda: (X, Y), epochs=3, batch_size=16, seed=1
    )
    assert same(values(found), values(whole))


@pytest.mark.parametrize("vectorize", [False, True])
def test_smaller_batches_are_dropped_where_that_is_asked_for(vectorize: bool) -> None:
    told: list[FitState] = []

    class Told:
        def on_epoch_end(self, state: FitState) -> None:
            told.append(state)

    x, y = regression(50)
    model = duda.DeepEnsemble(mlp, duda.Gaussian(), members=2)
    duda.fit(
        model,
        (x, y),
        epochs=1,
        batch_size=16,
        vectorize=vectorize,
        drop_last=True,
        callbacks=[Told()],
    )
    assert [(state.step, state.examples, state.steps) for state in told] == [(3, 48, 3)] * 2
    by_set = duda.Variational(mlp(), duda.Gaussian())
    duda.fit(by_set, Items2(), epochs=1, batch_size=16, drop_last=True)
    assert by_set.examples == 48


class Items2(Items):
    def __len__(self) -> int:
        return 50

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x, y = regression(50)
        return x[index], y[index]


def test_what_cannot_be_dropped() -> None:
    model = duda.Deterministic(mlp(), duda.Categorical())
    with pytest.raises(ValueError, match="`drop_last` is True, but `data` has 33 examples, fewer"):
        duda.fit(model, (X, Y), epochs=1, batch_size=34, drop_last=True)
    with pytest.raises(ValueError, match="`data` has no batches"):
        duda.fit(model, Items(), epochs=1, batch_size=34, drop_last=True)
    with pytest.raises(ValueError, match="`drop_last` is True, but `data` is a DataLoader"):
        duda.fit(model, DataLoader(ROWS, 8), epochs=1, drop_last=True)
    with pytest.raises(TypeError, match="`drop_last` is 1, expected True or False"):
        duda.fit(model, (X, Y), epochs=1, drop_last=1)  # type: ignore[arg-type]
