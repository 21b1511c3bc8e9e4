"""DataLoaders in predictions: with a seed all follows it, and what shuffles is warned of."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

import duda

X, Y = torch.randn(24, 4), torch.arange(24) % 3
PLAIN = TensorDataset(X, Y)


class Noisy(Dataset):
    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return X[i] + torch.randn(4), 0


class NoisyByOthers(Noisy):
    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        return X[i] + random.random() + np.random.randn(), 0  # noqa: NPY002


@pytest.fixture(params=["mc-dropout", "deterministic"])
def model(request: pytest.FixtureRequest) -> duda.UncertainModel:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    return duda.METHODS[request.param](net, duda.Categorical())


def own() -> torch.Generator:
    return torch.Generator().manual_seed(5)


LOADERS: dict[str, Callable[[], DataLoader[Any]]] = {
    "in order": lambda: DataLoader(PLAIN, 8),
    "noisy": lambda: DataLoader(Noisy(), 8),
    "noisy, workers": lambda: DataLoader(Noisy(), 8, num_workers=2),
    "noisy, workers, own generator": lambda: DataLoader(Noisy(), 8, num_workers=2, generator=own()),
    "shuffled": lambda: DataLoader(PLAIN, 8, shuffle=True),
    "shuffled by its own generator": lambda: DataLoader(PLAIN, 8, shuffle=True, generator=own()),
    "sampler of its own": lambda: DataLoader(
        PLAIN, 8, sampler=RandomSampler(PLAIN, generator=own())
    ),
    "batches of its own": lambda: DataLoader(
        PLAIN, batch_sampler=BatchSampler(RandomSampler(PLAIN, generator=own()), 8, False)
    ),
    "a data set": Noisy,
    "by Python and numpy": lambda: DataLoader(NoisyByOthers(), 8),
    "by Python and numpy, workers": lambda: DataLoader(NoisyByOthers(), 8, num_workers=2),
}


def states(loader: Any) -> list[Any]:
    """Return the states of all generators that a prediction could move."""
    places = [loader, getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)]
    places.append(getattr(places[2], "sampler", None))
    generators = [getattr(each, "generator", None) for each in places]
    own = [each.get_state() for each in generators if isinstance(each, torch.Generator)]
    others = random.getstate(), np.random.get_state()  # noqa: NPY002
    return [state.tolist() for state in (torch.get_rng_state(), *own)] + [repr(others)]


@pytest.mark.filterwarnings("ignore:.*shuffles:UserWarning")
@pytest.mark.parametrize("name", LOADERS)
def test_with_a_seed_all_follows_it_and_no_state_moves(
    name: str, model: duda.UncertainModel
) -> None:
    loader = LOADERS[name]()
    before = states(loader)
    one = model.predict(loader, seed=1).probs
    assert states(loader) == before
    torch.rand(3)
    assert torch.equal(model.predict(loader, seed=1).probs, one)
    if name != "in order":
        assert not torch.equal(model.predict(loader, seed=2).probs, one)


def test_a_loader_has_the_draws_of_its_tensor(model: duda.UncertainModel) -> None:
    expected = model.predict(X, seed=1, batch_size=8).probs
    assert torch.equal(model.predict(DataLoader(PLAIN, 8), seed=1).probs, expected)


@pytest.mark.parametrize("seed", [np.int64(3), -1, 2**40])
def test_any_whole_number_is_a_seed(seed: Any, model: duda.UncertainModel) -> None:
    loader = LOADERS["sampler of its own"]()
    with pytest.warns(UserWarning, match="shuffles"):
        answers = [model.predict(loader, seed=seed).probs for _ in range(2)]
    assert torch.equal(*answers)


def test_without_a_seed_the_global_generator_decides() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    model = duda.MCDropout(net, duda.Categorical())
    answers = []
    for _ in range(2):
        torch.manual_seed(3)
        answers.append(model.predict(DataLoader(Noisy(), 8, num_workers=1)).probs)
    assert torch.equal(*answers)


@pytest.mark.parametrize(
    ("loader", "shuffles"),
    [
        (DataLoader(PLAIN, 8, shuffle=True), True),
        (DataLoader(PLAIN, 8, sampler=SubsetRandomSampler(range(9))), True),
        (DataLoader(PLAIN, 8, sampler=WeightedRandomSampler(torch.ones(24), 9)), True),
        (DataLoader(PLAIN, 8, sampler=DistributedSampler(PLAIN, 1, 0)), True),
        (DataLoader(PLAIN, batch_sampler=BatchSampler(RandomSampler(PLAIN), 8, False)), True),
        (DataLoader(PLAIN, 8, sampler=DistributedSampler(PLAIN, 1, 0, shuffle=False)), False),
        (DataLoader(PLAIN, batch_sampler=BatchSampler(SequentialSampler(PLAIN), 8, False)), False),
        (DataLoader(PLAIN, 8), False),
    ],
)
def test_what_shuffles_is_warned_of(loader: DataLoader[Any], shuffles: bool) -> None:
    model = duda.Deterministic(nn.Linear(4, 3), duda.Categorical())
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        model.predict(loader, seed=0)
    assert [str(each.message)[:33] for each in seen] == shuffles * [
        "`x` is a DataLoader that shuffles"
    ]
