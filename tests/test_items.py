"""What is an input and what a target: one rule for `fit`, `predict` and `fit_posterior`."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import duda
from duda.items import split, told
from tests.tables import Table

N = 10
X, MASK, Y = (
    torch.randn(N, 4),
    (torch.arange(4 * N) % 3 > 0).float().view(N, 4),
    torch.arange(N) % 3,
)


class Masked(nn.Module):
    """Takes a second input, which it can do without."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.masks = 0

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            return self.linear(x)
        self.masks += len(mask)
        return self.linear(x * mask)


class Encoding(UserDict[str, Tensor]):
    """Named tensors in a class of its own, as tokenizers return them."""


class Rows:
    """Examples one by one, as the data sets of Hugging Face have them, which are none of torch."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def three(item: Any) -> Any:
    x, mask, y = item
    return (x, mask), {}, y


def by_name(item: Any) -> Any:
    return (item["image"],), {"mask": item["extra"]}, item["digit"]


def named(**more: Tensor) -> list[dict[str, Tensor]]:
    columns = {"x": X, "mask": MASK, **more}
    return [{name: values[i] for name, values in columns.items()} for i in range(N)]


OTHERS = [{"image": X[i], "extra": MASK[i], "digit": Y[i]} for i in range(N)]
PAIRS = [((X[i], MASK[i]), Y[i]) for i in range(N)]

# Data with the mask in them, and the rule that says so where there must be one.
DATA: dict[str, tuple[Any, Callable[[Any], Any] | None]] = {
    "a tuple of inputs": (((X, MASK), Y), None),
    "arrays": (((X.numpy(), MASK.numpy()), Y.numpy()), None),
    "named": (({"x": X, "mask": MASK}, Y), None),
    "labels within": ({"x": X, "mask": MASK, "labels": Y}, None),
    "label within": ({"x": X, "mask": MASK, "label": Y}, None),
    "y within": ({"x": X, "mask": MASK, "y": Y}, None),
    "an encoding": (Encoding(x=X, mask=MASK, labels=Y), None),
    "loader of tuples": (DataLoader(PAIRS, 4), None),  # type: ignore[arg-type]
    "loader of dicts": (DataLoader(named(labels=Y), 4), None),  # type: ignore[arg-type]
    "loader of encodings": (
        DataLoader(
            named(labels=Y),  # type: ignore[arg-type]
            4,
            collate_fn=lambda items: Encoding(torch.utils.data.default_collate(items)),
        ),
        None,
    ),
    "rows of dicts": (Rows(named(label=Y)), None),
    "rows of tuples": (Rows(PAIRS), None),
    "loader of three": (DataLoader(TensorDataset(X, MASK, Y), 4), three),
    "data set of three": (TensorDataset(X, MASK, Y), three),
    "three tensors": ((X, MASK, Y), three),
    "other names": (Rows(OTHERS), by_name),
    "other names at once": ({"image": X, "extra": MASK, "digit": Y}, by_name),
}


@pytest.mark.parametrize("kind", DATA)
def test_fit_predict_and_fit_posterior_take_the_same(kind: str) -> None:
    data, rule = DATA[kind]
    network = Masked()
    model = duda.Laplace(network, duda.Categorical())
    duda.fit(model, data, epochs=1, batch_size=4, seed=0, inputs=rule)
    assert network.masks >= 2 * N  # of the epoch, and of the posterior
    before = network.masks
    model.fit_posterior(data, 4, inputs=rule)
    assert network.masks == before + N + 2  # a look at two of them comes first
    found = model.log_marginal_likelihood()
    model.fit_posterior(((X, MASK), Y), 4)
    assert model.log_marginal_likelihood() == pytest.approx(found)
    if not (isinstance(data, tuple) and rule is None):  # whose inputs alone are given below
        answer = duda.Deterministic(network, duda.Categorical()).predict(data, inputs=rule)
        assert torch.allclose(answer.probs, network(X, MASK).softmax(1))


@pytest.mark.parametrize("method", duda.METHODS)
def test_every_method_takes_several_inputs(method: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linears = nn.ModuleList([nn.Linear(4, 8), nn.Linear(8, 3)])

        def forward(self, x: Tensor, mask: Tensor, *, scale: Tensor) -> Tensor:
            first, second = self.linears
            return second(nn.functional.dropout(first(x * mask * scale), 0.5, self.training).relu())

    def rule(item: Any) -> Any:
        x, mask, scale, y = item
        return (x, mask), {"scale": scale}, y

    arguments = {"gradient_penalty": 0} if method == "duq" else {}
    model = duda.METHODS[method].from_factory(Net, duda.Categorical(), **arguments)
    scale = torch.ones(N, 1)
    data = TensorDataset(X, MASK, scale, Y)
    duda.fit(model, data, epochs=4, seed=0, inputs=rule)
    answer = model.predict(data, seed=0, inputs=rule)
    zero = model.predict(TensorDataset(X, 0 * MASK, scale, Y), seed=0, inputs=rule)
    assert len(answer) == N
    assert not torch.equal(answer.log_probs, zero.log_probs)


@pytest.mark.parametrize("kind", DATA)
def test_a_smaller_last_batch_is_dropped_or_joined_of_any_data(kind: str) -> None:
    class Steps(Masked):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.rows = nn.BatchNorm1d(3), list[int]()

        def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
            if self.training:
                self.rows.append(len(x))
            return self.norm(super().forward(x, mask))

    data, rule = DATA[kind]
    if not isinstance(data, DataLoader):
        network = Steps()
        model = duda.Deterministic(network, duda.Categorical())
        duda.fit(model, data, epochs=1, batch_size=3, inputs=rule, drop_last=True)
        assert network.rows == [3, 3, 3]
    elif isinstance(data.dataset, Dataset):
        data = data.dataset
    network = Steps()
    model = duda.Deterministic(network, duda.Categorical())
    duda.fit(model, data, epochs=1, batch_size=3, inputs=rule)
    assert network.rows == ([4, 4, 2] if isinstance(data, DataLoader) else [3, 3, 4])


def test_inputs_alone_may_be_a_tuple_or_named() -> None:
    network = Masked()
    model = duda.Deterministic(network, duda.Categorical())
    expected = network(X, MASK).softmax(1)
    for x in ((X, MASK), {"x": X, "mask": MASK}, (X.numpy(), MASK), Encoding(x=X, mask=MASK)):
        assert torch.allclose(model.predict(x, batch_size=3).probs, expected)
    loader = DataLoader(Rows([((X[i], MASK[i]), "name") for i in range(N)]), 3)  # type: ignore[arg-type]
    assert torch.allclose(model.predict(loader).probs, expected)


THREE = TensorDataset(X, MASK, Y)


@pytest.mark.parametrize("data", [THREE, DataLoader(THREE, 4)], ids=["data set", "loader"])
def test_nothing_is_dropped_in_silence(data: Any) -> None:
    model = duda.Laplace(Masked(), duda.Categorical())
    for call in (
        lambda: duda.Deterministic(Masked(), duda.Categorical()).predict(data),
        lambda: duda.fit(model, data, epochs=1),
        lambda: model.fit_posterior(data),
    ):
        with pytest.raises(TypeError, match=r"is a list, expected .*of its 3 parts say by `inp"):
            call()


class Needs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.stack([x[:, 0] + y[:, 0], x[:, 1]], 1)


class Optional(nn.Module):
    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return x if y is None else x * y


def test_a_name_of_targets_that_the_network_needs_is_an_input() -> None:
    model = duda.Deterministic(Needs(), duda.Categorical())
    x = {"x": X, "y": MASK}
    expected = Needs()(X, MASK).softmax(1)
    assert torch.allclose(model.predict(x).probs, expected)
    assert torch.allclose(
        model.predict(
            DataLoader(Rows([{k: v[i] for k, v in x.items()} for i in range(N)]), 4)
        ).probs,
        expected,
    )  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"has 'y', expected one name .* no input of the network"):
        duda.Deterministic(Optional(), duda.Categorical()).predict(x)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            (X, MASK),
            r"`x` is a tuple, expected a tensor, because the network takes `forward\(",
        ),
        (
            {"input": X, "more": MASK},
            r"`x` has the inputs 'input' and 'more', .*unexpected keyword",
        ),
        ({"inputs": X}, "'inputs', expected others, .*leave out what it does not take, or say by"),
    ],
    ids=["tuple", "more", "another name"],
)
def test_inputs_that_nobody_takes_are_told(x: Any, message: str) -> None:
    network = nn.Sequential(nn.Linear(4, 3), nn.Dropout())
    for model in (
        duda.Deterministic(network, duda.Categorical()),
        duda.MCDropout(network, duda.Categorical()),
        duda.DeepEnsemble([network], duda.Categorical()),
    ):
        with pytest.raises(TypeError, match=message):
            model.predict(x)
        with pytest.raises(TypeError, match=message):
            duda.fit(model, (x, Y), epochs=1)


def test_an_error_within_the_network_stays_its_own() -> None:
    class Wrong(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return len(3)  # type: ignore[arg-type]

    with pytest.raises(TypeError, match="has no len"):
        duda.Deterministic(Wrong(), duda.Categorical()).predict(X)


@pytest.mark.parametrize("found", [None, (1, 2), ((), {}, Y), (X, {}, Y), ((X,), None, Y)])
def test_rules_that_return_something_else(found: Any) -> None:
    with pytest.raises(TypeError, match=r"`inputs` returned .*expected `\(args, kwargs, y\)`"):
        duda.Deterministic(Masked(), duda.Categorical()).predict(X, inputs=lambda item: found)
    with pytest.raises(TypeError, match=r"`inputs` returned .*expected `\(args, kwargs, y\)`"):
        told(X, lambda item: found)


def test_several_names_of_targets_are_ambiguous() -> None:
    with pytest.raises(TypeError, match="has 'labels' and 'y', expected one name for its targets"):
        split({"x": X, "labels": Y, "y": Y})


def test_data_without_targets_are_told() -> None:
    with pytest.raises(TypeError, match="`data` is a dict, expected a pair"):
        duda.fit(duda.Deterministic(Masked(), duda.Categorical()), {"x": X}, epochs=1)


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_tables_are_their_numbers(kind: Any) -> None:
    """As of pandas: no dependency, but for `__array__`."""
    x, y = Table(X.numpy().astype(kind)), Table(X[:, 0].numpy().astype(kind))
    model = duda.Deterministic(nn.Linear(4, 2), duda.Gaussian())
    other = duda.Deterministic(nn.Linear(4, 2), duda.Gaussian())
    other.load_state_dict(model.state_dict())
    duda.fit(model, (x, y), epochs=3, seed=0, validation=(x, y))
    duda.fit(other, (X, X[:, :1]), epochs=3, seed=0, validation=(X, X[:, :1]))
    assert torch.equal(model.predict(x).mean, other.predict(X).mean)
    labels = duda.Deterministic(nn.Linear(4, 3), duda.Categorical())
    duda.fit(labels, ({"input": x}, Table(Y.numpy())), epochs=1)
    assert labels.predict({"input": x}).probs.shape == (N, 3)
    with pytest.raises(TypeError, match="`x` is a Table, expected a tensor or array of numbers"):
        model.predict(Table(np.array([["a", "b"]], dtype=object)))


class Numbers(Dataset[Any]):
    """Two inputs for each example, as pairs within pairs."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        return (X[index], MASK[index]), Y[index]


@pytest.mark.parametrize("bn", [False, True])
def test_several_inputs_are_kept_by_swag_and_its_file(bn: bool, tmp_path: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.norm = nn.Linear(4, 3), nn.BatchNorm1d(3) if bn else nn.Identity()

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return self.norm(self.linear(x * mask))

    model = duda.SWAG(Net(), duda.Categorical(), samples=3)
    duda.fit(model, Numbers(), epochs=4, seed=0)
    answer = model.predict((X, MASK), seed=0)
    other = duda.load(duda.save(model, tmp_path / "swag"), Net)
    assert torch.equal(other.predict((X, MASK), seed=0).probs, answer.probs)


@pytest.mark.parametrize("kind", DATA)
def test_detectors_take_the_same(kind: str) -> None:
    data, rule = DATA[kind]
    network = Masked()
    expected = network(X, MASK)
    fitted = duda.detectors.OnNetwork(network, duda.detectors.Mahalanobis(), inputs=rule).fit(data)
    assert network.masks == 2 * N
    plain = duda.detectors.OnNetwork(network, duda.detectors.Mahalanobis()).fit(((X, MASK), Y))
    torch.testing.assert_close(fitted.detector.score(X), plain.detector.score(X))
    if isinstance(data, tuple) and rule is None:
        return
    torch.testing.assert_close(duda.detectors.logits_of(network, data, inputs=rule), expected)
    torch.testing.assert_close(duda.detectors.features_of(network, data, inputs=rule), X * MASK)
    torch.testing.assert_close(fitted.score(data), fitted.detector.score(X * MASK))


def test_detectors_keep_names_of_targets_that_the_network_needs() -> None:
    torch.testing.assert_close(
        duda.detectors.logits_of(Needs(), {"x": X, "y": MASK}), Needs()(X, MASK)
    )


def test_a_part_of_an_item_that_is_no_tensor_is_named() -> None:
    texts = DataLoader(Rows([{"x": X[i], "text": "a", "label": Y[i]} for i in range(N)]), 4)  # type: ignore[arg-type]
    model = duda.Deterministic(Masked(), duda.Categorical())
    for call in (lambda: model.predict(texts), lambda: duda.fit(model, texts, epochs=1)):
        with pytest.raises(TypeError, match="is a dict with 'text' as a list, expected"):
            call()
