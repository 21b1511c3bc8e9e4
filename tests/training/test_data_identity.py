"""A checkpoint goes on only with the same data, whatever gives them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import duda
from tests.training.models import plain, regression


class Numbered(Dataset[Any]):
    """Examples that follow from a number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __len__(self) -> int:
        return 50

    def __getitem__(self, index: int) -> Any:
        generator = torch.Generator().manual_seed(1000 * self.number + index)
        return torch.randn(3, generator=generator), torch.ones(1)


class Labels(Numbered):
    """Inputs by a generator of their own, and targets that follow from a number."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.own = np.random.default_rng()

    def __getitem__(self, index: int) -> Any:
        return torch.from_numpy(self.own.random(3)).float(), torch.tensor([float(self.number)])


class Noisy(Numbered):
    """Examples with noise by all the global generators."""

    def __getitem__(self, index: int) -> Any:
        x, y = super().__getitem__(index)
        noise = torch.rand(()) + np.random.rand() + random.random()  # noqa: NPY002
        return x + noise, y


class Streamed(IterableDataset[Any]):
    def __init__(self, number: int) -> None:
        self.number = number

    def __iter__(self) -> Iterator[Any]:
        items = Numbered(self.number)
        return (items[index] for index in range(50))


def twice(items: list[Any]) -> Any:
    x, y = (torch.stack(part) for part in zip(*items, strict=True))
    return 2 * x, y


def named(number: int) -> Any:
    return {"input": Numbered(number)[0][0].expand(50, 3), "labels": torch.ones(50, 1)}


DATA: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "Dataset": (lambda: Numbered(1), lambda: Numbered(2)),
    "noise": (lambda: Noisy(1), lambda: Noisy(2)),
    "targets beside noise": (lambda: Labels(1), lambda: Labels(2)),
    "subset": (lambda: Subset(Numbered(1), range(40)), lambda: Subset(Numbered(1), range(1, 41))),
    "loader": (lambda: DataLoader(Numbered(1), 16), lambda: DataLoader(Numbered(2), 16)),
    "workers": (
        lambda: DataLoader(Noisy(1), 16, num_workers=2, multiprocessing_context="fork"),
        lambda: DataLoader(Noisy(2), 16, num_workers=2, multiprocessing_context="fork"),
    ),
    "order": (
        lambda: DataLoader(Numbered(1), 16),
        lambda: DataLoader(Numbered(1), 16, shuffle=True),
    ),
    "generator": (
        lambda: DataLoader(
            Numbered(1), 16, shuffle=True, generator=torch.Generator().manual_seed(1)
        ),
        lambda: DataLoader(
            Numbered(1), 16, shuffle=True, generator=torch.Generator().manual_seed(2)
        ),
    ),
    "collate": (
        lambda: DataLoader(Numbered(1), 16),
        lambda: DataLoader(Numbered(1), 16, collate_fn=twice),
    ),
    "stream": (lambda: DataLoader(Streamed(1), 16), lambda: DataLoader(Streamed(2), 16)),
    "stream itself": (lambda: Streamed(1), lambda: Streamed(2)),
    "tensors": (lambda: TensorDataset(*regression(40)), lambda: TensorDataset(*regression(41))),
    "names": (lambda: named(1), lambda: {"x": named(1)["input"], "labels": named(1)["labels"]}),
    "values by name": (lambda: named(1), lambda: named(2)),
}


class Named(nn.Linear):
    def forward(self, input: Tensor | None = None, x: Tensor | None = None) -> Tensor:
        return super().forward(x if input is None else input)


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("place", ["data", "validation"])
def test_data_are_told_by_what_they_hold(kind: str, place: str, tmp_path: Path) -> None:
    def go(data: Any) -> Tensor:
        given = {"data": regression(), "validation": regression(), place: data}
        if "name" in kind:
            other = "validation" if place == "data" else "data"
            given[other] = named(0) if kind != "names" else data
        model = plain(lambda: Named(3, 2))
        duda.fit(model, **given, epochs=2, seed=0, checkpoint=tmp_path / "run")
        return model.network.weight

    one, other = DATA[kind]
    first = go(one())
    assert torch.equal(first, go(one()))
    with pytest.raises(ValueError, match=r"is of another run: its (data|validation) is"):
        go(other())


class Opaque(Labels):
    def __getitem__(self, index: int) -> Any:
        x, _ = super().__getitem__(index)
        return x, x[:1]


class Once(IterableDataset[Any]):
    def __init__(self) -> None:
        self.items = iter([Numbered(1)[index] for index in range(50)])

    def __iter__(self) -> Iterator[Any]:
        return self.items


@pytest.mark.parametrize(("data", "why"), [(Opaque, "differs at each"), (Once, "only once")])
def test_data_that_cannot_be_told_apart_are_refused(
    data: type[Any], why: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=rf"`checkpoint` .*`data` .*{why}.*leave `checkpoint` out"):
        duda.fit(
            plain(), data(1) if data is Opaque else data(), epochs=1, checkpoint=tmp_path / "a"
        )
    assert not list(tmp_path.iterdir())


def test_reading_the_data_leaves_all_random_states_as_they_were(tmp_path: Path) -> None:
    def states() -> list[Any]:
        numpys = np.random.get_state()  # noqa: NPY002
        return [torch.get_rng_state().tolist(), [*map(str, numpys)], random.getstate()]

    with torch.random.fork_rng():
        before = states()
        duda.fit(plain(), Numbered(1), epochs=1, seed=0, checkpoint=tmp_path / "run")
        assert states() == before


@pytest.mark.parametrize("data", [Noisy, Numbered])
def test_a_checkpoint_changes_no_training(data: type[Any], tmp_path: Path) -> None:
    found = []
    for checkpoint in (None, tmp_path / "run"):
        model = plain()
        np.random.seed(0)  # noqa: NPY002
        random.seed(0)
        duda.fit(model, data(1), epochs=2, seed=0, checkpoint=checkpoint)
        found.append(model.network[0].weight)
    assert torch.equal(*found)
