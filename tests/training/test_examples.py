"""How many examples there are is what an epoch brings, whatever torch lets a loader be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

import duda
from duda.hooks import FitState
from duda.sources import read_pairs
from tests.training.models import classes, mlp, same, seeded_model, values
from tests.training.test_checkpoint import cut_off_each_epoch

X, Y = classes(50)
ROWS = TensorDataset(X, Y)


class Whole(Dataset[tuple[Tensor, Tensor]]):
    """Ten items, each a batch of five."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if not 0 <= index < 10:
            raise IndexError
        return X[5 * index : 5 * index + 5], Y[5 * index : 5 * index + 5]


class Stream(IterableDataset[tuple[Tensor, Tensor]]):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(X, Y, strict=True)


class Boasting(Stream):
    """A stream that says it were longer than it is."""

    def __len__(self) -> int:
        return 1000


class Buckets(Sampler[list[int]]):
    """Batches of sizes of its own."""

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Iterator[list[int]]:
        yield from ([0, 1, 2], list(range(3, 20)), [20, 21])


class Unsized(Sampler[int]):
    def __iter__(self) -> Iterator[int]:
        yield from range(17)


def twice(items: list[Any]) -> Any:
    """Return a batch with each item twice, as with two crops of a picture."""
    return default_collate(items + items)


LOADERS: dict[str, tuple[Any, int]] = {
    "tensors": ((X, Y), 50),
    "a data set": (ROWS, 50),
    "all": (DataLoader(ROWS, 8, shuffle=True), 50),
    "without the rest": (DataLoader(ROWS, 8, drop_last=True), 48),
    "a subset by its sampler": (DataLoader(ROWS, 4, sampler=SubsetRandomSampler(range(9))), 9),
    "a subset": (DataLoader(Subset(ROWS, range(11)), 4), 11),
    "more than there are": (
        DataLoader(ROWS, 16, sampler=RandomSampler(ROWS, replacement=True, num_samples=120)),
        120,
    ),
    "weighted": (DataLoader(ROWS, 8, sampler=WeightedRandomSampler([1.0] * 50, 21)), 21),
    "several": (DataLoader(ConcatDataset([ROWS, ROWS]), 8), 100),
    "batches": (
        DataLoader(ROWS, batch_sampler=BatchSampler(SequentialSampler(range(22)), 5, True)),
        20,
    ),
    "batches of its own": (DataLoader(ROWS, batch_sampler=Buckets()), 22),
    "a sampler without a length": (DataLoader(ROWS, 5, sampler=Unsized()), 17),
    "whole batches": (DataLoader(Whole(), batch_size=None), 50),
    "some whole batches": (
        DataLoader(Whole(), batch_size=None, sampler=SubsetRandomSampler(range(3))),
        15,
    ),
    "whole batches by a sampler": (
        DataLoader(ROWS, batch_size=None, sampler=BatchSampler(SequentialSampler(ROWS), 20, True)),
        40,
    ),
    "a stream": (Stream(), 50),
    "a stream in batches": (DataLoader(Stream(), 8), 50),
    "a stream without the rest": (DataLoader(Stream(), 8, drop_last=True), 48),
    "a stream of whole batches": (DataLoader(Whole(), batch_size=None), 50),
    "a stream that boasts": (DataLoader(Boasting(), 8), 50),
    "a collate function": (DataLoader(ROWS, 10, collate_fn=twice), 100),
    "workers": (DataLoader(Stream(), 8, num_workers=2), 100),
}


class Told:
    def __init__(self) -> None:
        self.examples: list[int | None] = []

    def on_epoch_start(self, state: FitState) -> None:
        self.examples.append(state.examples)

    def on_fit_end(self, state: FitState) -> None:
        self.examples.append(state.examples)


def variational(**options: Any) -> duda.Variational:
    model = seeded_model(lambda: duda.Variational(mlp(), duda.Categorical(), **options))
    assert isinstance(model, duda.Variational)
    return model


@pytest.mark.parametrize("kind", LOADERS)
@pytest.mark.filterwarnings("ignore:Length of IterableDataset")
def test_the_size_of_the_data_is_what_an_epoch_brings(kind: str) -> None:
    data, count = LOADERS[kind]
    known = read_pairs(data, 16).examples()
    assert known in (count, None)
    model, told = variational(), Told()
    duda.fit(model, data, epochs=2, batch_size=16, callbacks=[told])
    assert model.examples == count
    assert told.examples == [known, count, count]
    given = variational(examples=7)
    duda.fit(given, data, epochs=1, batch_size=16)
    assert given.examples == 7


@pytest.mark.parametrize("kind", ["a subset by its sampler", "whole batches", "batches"])
def test_known_from_the_first_step_on(kind: str) -> None:
    data, count = LOADERS[kind]
    shares = []

    class Noted(duda.Variational):
        def loss(self, x: Tensor, y: Tensor) -> Tensor:
            loss = super().loss(x, y)
            shares.append(self.examples)
            return loss

    duda.fit(Noted(mlp(), duda.Categorical()), data, epochs=2, batch_size=16)
    assert set(shares) == {count}


def test_a_stream_is_taken_for_what_it_has_brought_until_it_ends() -> None:
    shares = []

    class Noted(duda.Variational):
        def loss(self, x: Tensor, y: Tensor) -> Tensor:
            loss = super().loss(x, y)
            shares.append(self.examples)
            return loss

    duda.fit(Noted(mlp(), duda.Categorical()), DataLoader(Stream(), 20), epochs=2)
    assert shares == [20, 40, 50, 50, 50, 50]


def test_members_after_the_first_know_of_the_count() -> None:
    told = Told()
    model = duda.SubEnsemble(lambda: nn.Sequential(mlp(), mlp2()), duda.Categorical(), members=2)
    duda.fit(model, Stream(), epochs=2, batch_size=16, callbacks=[told])
    assert told.examples == [None, 50, 50, 50, 50]


def mlp2() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2))


def test_a_loop_of_ones_own_counts_the_first_epoch() -> None:
    model = variational()
    for epoch in range(2):
        model.on_epoch_start(FitState(epoch=epoch))
        seen = []
        for rows in torch.arange(50).split(20):
            model.loss(X[rows], Y[rows]).backward()
            seen.append(model.examples)
        assert seen == ([20, 40, 50] if epoch == 0 else [50, 50, 50])
    with pytest.raises(ValueError, match="`examples` is not known"):
        variational().loss(X, Y)


def test_runs_that_are_cut_off_know_the_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = variational()
    duda.fit(whole, DataLoader(Stream(), 16), epochs=3, seed=1)
    found, _, attempts = cut_off_each_epoch(
        variational,
        tmp_path / "run",
        monkeypatch,
        data=lambda: DataLoader(Stream(), 16),
        epochs=3,
        seed=1,
    )
    assert attempts >= 3
    assert same(values(found), values(whole))


def test_who_scores_examples_needs_their_places_and_not_their_number() -> None:
    loader = DataLoader(ROWS, 4, sampler=SubsetRandomSampler(range(9)))
    dynamics = duda.TrainingDynamics(50)
    model = duda.Deterministic(mlp(), duda.Categorical())
    duda.fit(model, loader, epochs=1, callbacks=[dynamics])
    assert bool(dynamics.confidence.isfinite().all())
    with pytest.raises(ValueError, match="`n` of a TrainingDynamics is 9, but `data` has 50"):
        duda.fit(model, loader, epochs=1, callbacks=[duda.TrainingDynamics(9)])
