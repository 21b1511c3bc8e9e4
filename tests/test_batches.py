"""Batches of inputs from tensors, arrays, Datasets and DataLoaders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from duda.batches import input_batches, labelled_batches

X, Y = torch.arange(10.0).reshape(5, 2), torch.arange(5)


class Stream(IterableDataset[Tensor]):
    """A data set that does not know its length."""

    def __iter__(self) -> Iterator[Tensor]:
        return iter(X)


class Inputs(Dataset[Tensor]):
    """A data set without targets."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Tensor:
        return X[index]


def read_only() -> np.ndarray:
    array = X.numpy().copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (X, 3),
        (X.numpy(), 3),
        (read_only(), 3),
        (X.flip(0).numpy()[::-1], 3),
        (TensorDataset(X, Y), 3),
        (Inputs(), 3),
        (Stream(), None),
        (DataLoader(TensorDataset(X, Y), 2), 3),
        (DataLoader(Inputs(), 2), 3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_source_gives_the_same_batches(data: Any, count: int | None) -> None:
    batches, found = input_batches(data, 2)
    parts = list(batches)
    assert found == count
    assert [len(part) for part in parts] == [2, 2, 1]
    assert torch.equal(torch.cat(parts), X)


def test_a_loader_keeps_its_own_batches() -> None:
    batches, count = input_batches(DataLoader(Inputs(), 4), 2)
    assert count == 2
    assert [len(part) for part in batches] == [4, 1]


@pytest.mark.parametrize("data", [X[:0], X[0, 0], X[:0].numpy(), TensorDataset(X[:0])])
def test_no_examples_are_told(data: Any) -> None:
    with pytest.raises(ValueError, match=r"`x` has .*expected at least one"):
        input_batches(data, 2)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_inputs_that_are_not_finite_are_told(wrong: float) -> None:
    x = X.clone()
    x[3, 1] = wrong
    for data in (x, x.numpy(), TensorDataset(x)):
        batches, _ = input_batches(data, 2)
        with pytest.raises(ValueError, match=r"`x` has .*index \[1, 1\]"):
            list(batches)


@pytest.mark.parametrize("data", [[[1.0]], None, "x", 3])
def test_other_inputs_are_a_type_error(data: Any) -> None:
    with pytest.raises(TypeError, match="expected a tensor, an array, a Dataset or a DataLoader"):
        input_batches(data, 2)


def test_items_without_a_tensor_are_told() -> None:
    batches, _ = input_batches(DataLoader([{"x": "a"}, {"x": "b"}]), 2)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a batch of `x` is a dict with no tensor first"):
        list(batches)


@pytest.mark.parametrize("kind", ["tensors", "arrays", "loader"])
def test_inputs_have_names(kind: str) -> None:
    named = {"ids": torch.arange(5), "mask": torch.ones(5, 2)}
    data: object = named
    if kind == "arrays":
        data = {name: values.numpy() for name, values in named.items()}
    if kind == "loader":
        items = [{name: values[i] for name, values in named.items()} for i in range(5)]
        data = DataLoader(items, 2)  # type: ignore[arg-type]
    batches, count = input_batches(data, 2)  # type: ignore[arg-type]
    found = list(batches)
    assert count == len(found) == 3
    for name, values in named.items():
        assert torch.equal(torch.cat([batch[name] for batch in found]), values)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ({"a": torch.ones(2), "b": torch.ones(3)}, ValueError, "as many for each name"),
        ({"a": torch.ones(2), "b": [1, 2]}, TypeError, r"`x\['b'\]` is a list"),
        ({"a": torch.ones(0)}, ValueError, "`a` has shape .*at least one example"),
        ({}, ValueError, "`x` is empty"),
    ],
)
def test_bad_named_inputs(data: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        input_batches(data, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["pair", "arrays", "loader", "named"])
def test_labelled_batches_keep_inputs_and_targets_together(kind: str) -> None:
    named = {"left": X[:, 0], "right": X[:, 1]}
    data: Any = {
        "pair": (X, Y),
        "arrays": (X.numpy(), Y.numpy()),
        "loader": DataLoader(TensorDataset(X, Y), 2),
        "named": (named, Y),
    }[kind]
    inputs, targets = zip(*labelled_batches(data, 2), strict=True)
    if kind == "named":
        inputs = tuple(torch.stack([x["left"], x["right"]], dim=1) for x in inputs)  # type: ignore[index]
    assert [len(y) for y in targets] == [2, 2, 1]
    assert torch.equal(torch.cat(inputs), X)  # type: ignore[arg-type]
    assert torch.equal(torch.cat(targets), Y)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ((X, Y[:4]), ValueError, r"`y` has shape \(4,\) for 5 inputs"),
        ((X, Y[0]), ValueError, r"`y` has shape \(\) for 5 inputs"),
        ((X / 0, Y), ValueError, "`x` has 1 NaN and 3 infinite values"),
        (X, TypeError, "`data` is a Tensor"),
        (TensorDataset(X), TypeError, "a batch of `data` is a list, expected a pair"),
        (TensorDataset(X, Y, Y), TypeError, "a batch of `data` is a list, expected a pair"),
    ],
)
def test_bad_labelled_data(data: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        list(labelled_batches(data, 2))
