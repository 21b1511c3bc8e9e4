"""One reader of tensors, arrays, Datasets and DataLoaders, for `fit`, `predict` and the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import duda
from duda.sources import read_inputs, read_pairs

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
    source = read_inputs(data, 2)
    parts = list(source.inputs())
    assert source.batches() == count
    assert source.examples() == (None if count is None else 5)
    again = [batch.clone() for batch in source.inputs()]
    assert torch.equal(torch.cat(again), X)
    assert [len(part) for part in parts] == [2, 2, 1]
    assert torch.equal(torch.cat(parts), X)


def test_a_loader_keeps_its_own_batches() -> None:
    source = read_inputs(DataLoader(Inputs(), 4), 2)
    assert source.batches() == 2
    assert [len(part) for part in source.inputs()] == [4, 1]


@pytest.mark.parametrize("data", [X[:0], X[0, 0], X[:0].numpy(), TensorDataset(X[:0])])
def test_no_examples_are_told(data: Any) -> None:
    with pytest.raises(ValueError, match=r"`x` (has|is) .*expected (at least one|examples)"):
        read_inputs(data, 2)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_inputs_that_are_not_finite_are_told(wrong: float) -> None:
    x = X.clone()
    x[3, 1] = wrong
    for data in (x, x.numpy(), TensorDataset(x), DataLoader(TensorDataset(x), 2)):
        with pytest.raises(ValueError, match=r"`x of batch 2` has .*index \[1, 1\]"):
            list(read_inputs(data, 2).inputs())
    with pytest.raises(ValueError, match=r"`x` has .*index \[3, 1\]"):
        list(read_inputs(x, 5).inputs())


@pytest.mark.parametrize("data", [[[1.0]], None, "x", 3])
def test_other_inputs_are_a_type_error(data: Any) -> None:
    with pytest.raises(TypeError, match="expected a tensor, an array, a Dataset or a DataLoader"):
        read_inputs(data, 2)


def test_items_without_a_tensor_are_told() -> None:
    source = read_inputs(DataLoader([{"x": "a"}, {"x": "b"}]), 2)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a batch of `x` is a dict with 'x' as a list"):
        list(source.inputs())


@pytest.mark.parametrize("kind", ["tensors", "arrays", "loader"])
def test_inputs_have_names(kind: str) -> None:
    named = {"ids": torch.arange(5), "mask": torch.ones(5, 2)}
    data: object = named
    if kind == "arrays":
        data = {name: values.numpy() for name, values in named.items()}
    if kind == "loader":
        items = [{name: values[i] for name, values in named.items()} for i in range(5)]
        data = DataLoader(items, 2)  # type: ignore[arg-type]
    source = read_inputs(data, 2)  # type: ignore[arg-type]
    found = list(source.inputs())
    assert source.batches() == len(found) == 3
    for name, values in named.items():
        assert torch.equal(torch.cat([batch[name] for batch in found]), values)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ({"a": torch.ones(2), "b": torch.ones(3)}, ValueError, "as many for each name"),
        ({"a": torch.ones(2), "b": [1, 2]}, TypeError, r"`x\['b'\]` is a list"),
        ({"a": torch.ones(0)}, ValueError, r"`x\[\'a\'\]` has shape .*at least one example"),
        ({}, ValueError, "`x` is empty"),
    ],
)
def test_bad_named_inputs(data: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_inputs(data, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["pair", "arrays", "loader", "named"])
def test_labelled_batches_keep_inputs_and_targets_together(kind: str) -> None:
    named = {"left": X[:, 0], "right": X[:, 1]}
    data: Any = {
        "pair": (X, Y),
        "arrays": (X.numpy(), Y.numpy()),
        "loader": DataLoader(TensorDataset(X, Y), 2),
        "named": (named, Y),
    }[kind]
    inputs, targets = zip(*read_pairs(data, 2).pairs(), strict=True)
    if kind == "named":
        inputs = tuple(torch.stack([x["left"], x["right"]], dim=1) for x in inputs)  # type: ignore[index]
    assert [len(y) for y in targets] == [2, 2, 1]
    assert torch.equal(torch.cat(inputs), X)  # type: ignore[arg-type]
    assert torch.equal(torch.cat(targets), Y)


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ((X, Y[:4]), ValueError, "`data` has 5 inputs but 4 targets"),
        ((X, Y[0]), ValueError, "`y of data` is one number"),
        ((X / 0, Y), ValueError, "`x of batch 1 of data` has 1 NaN and 3 infinite values"),
        (X, TypeError, "`data` is a Tensor"),
        (TensorDataset(X), TypeError, "a batch of `data` is a list, expected a pair"),
        (TensorDataset(X, Y, Y), TypeError, "a batch of `data` is a list, expected a pair"),
    ],
)
def test_bad_labelled_data(data: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        list(read_pairs(data, 2).pairs())


def unequal(_: Any) -> tuple[Tensor, Tensor]:
    return X, Y[:4]


def empty(_: Any) -> tuple[Tensor, Tensor]:
    return X[:0], Y[:0]


class Nothing(IterableDataset[tuple[Tensor, Tensor]]):
    """A stream that is over."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(())


NETWORK = torch.nn.Linear(2, 5)


def everywhere(data: Any) -> list[Callable[[], object]]:
    """Return all that reads inputs and targets."""
    labels = duda.Categorical()
    return [
        lambda: duda.fit(duda.Deterministic(NETWORK, labels), data, epochs=1),
        lambda: duda.Laplace(NETWORK, labels).fit_posterior(data),
    ]


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ((X, Y[:4]), ValueError, "`data` has 5 inputs but 4 targets, expected one target for"),
        ((X[0, 0], Y), ValueError, "`x of data` is one number, expected examples on dimension 0"),
        ((X, Y[0]), ValueError, "`y of data` is one number, expected examples on dimension 0"),
        ((X[:0], Y[:0]), ValueError, r"`x of data` has shape \(0, 2\) and is empty"),
        ((X / 0, Y), ValueError, "`x of data` has 1 NaN and 9 infinite values"),
        (({}, Y), ValueError, "`x of data` is empty, expected at least one input by its name"),
        (({"a": X, "b": X[:4]}, Y), ValueError, "`data` has inputs for .*'a': 5, 'b': 4"),
        ((X, "y"), TypeError, "`y of data` is a str, expected a tensor or array of numbers"),
        (X, TypeError, "`data` is a Tensor, expected a pair"),
        (TensorDataset(X, Y, Y), TypeError, "a batch of `data` is a list, expected a pair"),
        (DataLoader(Inputs(), 2), TypeError, "a batch of `data` is a Tensor, expected a pair"),
        (DataLoader(Inputs(), 9, drop_last=True), ValueError, "`data` has no batches"),
        (Nothing(), ValueError, "`data` gave no batch"),
        (
            DataLoader(Inputs(), 2, collate_fn=unequal),
            ValueError,
            "`batch 1 of data` has 5 inputs but 4 targets",
        ),
        (
            DataLoader(Inputs(), 2, collate_fn=empty),
            ValueError,
            r"`x of batch 1 of data` has shape \(0, 2\) and is empty",
        ),
    ],
)
def test_one_sentence_for_each_wrong_thing(data: Any, error: type[Exception], message: str) -> None:
    for call in everywhere(data):
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (X[0, 0], ValueError, "`x` is one number, expected examples on dimension 0"),
        (X[:0], ValueError, r"`x` has shape \(0, 2\) and is empty, expected at least one"),
        (X[:, :0], ValueError, r"`x` has shape \(5, 0\) and is empty"),
        (Nothing(), ValueError, "`x` gave no batch, expected at least one"),
        ({"a": X, "b": X[:4]}, ValueError, "`x` has inputs for .*'a': 5, 'b': 4"),
        ((X, Y), TypeError, "`x` is a tuple, expected a tensor"),
        (
            DataLoader(Inputs(), 2, collate_fn=lambda _: {"a": X, "b": X[:4]}),
            ValueError,
            "`batch 1 of x` has inputs for .*'a': 5, 'b': 4",
        ),
        (
            DataLoader(Inputs(), 2, collate_fn=lambda _: X[:0]),
            ValueError,
            r"`x of batch 1` has shape \(0, 2\) and is empty",
        ),
    ],
)
def test_predict_says_the_same(x: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        duda.Deterministic(NETWORK, duda.Categorical()).predict(x)


def test_tensor_data_sets_are_read_without_a_call_for_each_example(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    get = TensorDataset.__getitem__
    monkeypatch.setattr(
        TensorDataset, "__getitem__", lambda self, i: (calls.append(i), get(self, i))[1]
    )
    data, model = TensorDataset(X, Y), duda.Laplace(NETWORK, duda.Categorical())
    model.fit_posterior(data)
    duda.fit(duda.Deterministic(NETWORK, duda.Categorical()), data, epochs=1)
    model.predict(data)
    assert not calls


def test_arrays_of_names_and_lists_are_read_alike() -> None:
    found = []
    for x in (X, X.numpy(), X.tolist()):
        model = duda.Laplace(torch.nn.Linear(2, 5), duda.Categorical())
        model.network.load_state_dict(NETWORK.state_dict())
        model.fit_posterior((x, Y.tolist() if isinstance(x, list) else Y), batch_size=2)
        found.append(model.log_marginal_likelihood())
    assert found[0] == found[1] == found[2]
