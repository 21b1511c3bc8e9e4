"""Captures: the graph makes what the network makes, and knows what is random in it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from duda.batches import Batch
from duda.graphs import Graph, NotCaptured, capture, split
from duda.graphs.parts import Answer


class Net(nn.Module):
    """Calls a function of a hidden layer between two linear ones."""

    def __init__(self, between: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.between = between
        self.start, self.end = nn.Linear(4, 8), nn.Linear(8, 3)
        self.dropout = nn.Dropout(0.5)
        self.register_buffer("scale", torch.full((8,), 2.0), persistent=False)
        self.shift = torch.ones(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.between(self, self.start(x).relu()))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], layers: int = 2) -> None:
        super().__init__()
        self.layer = kind(4, 8, layers, dropout=0.3, batch_first=True)
        self.end = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.layer(x)[0][:, -1])


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2)
        self.end = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.layers(x).mean(1))


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.dropout = nn.Linear(4, 3), nn.Dropout(0.5)

    def forward(self, x: Tensor, mask: Tensor) -> dict[str, Tensor]:
        return {"logits": self.dropout(self.layer(x * mask)), "hidden": x}


def convolutional() -> nn.Module:
    norm = nn.BatchNorm2d(8)
    norm.running_mean = torch.rand(8)
    trunk = nn.Sequential(nn.Conv2d(1, 8, 3), norm, nn.ReLU(inplace=True), nn.MaxPool2d(2))
    head = nn.Sequential(nn.Dropout2d(0.3), nn.Flatten(), nn.Linear(72, 3))
    return nn.Sequential(trunk, head)


def by_hand(net: Net, h: Tensor) -> Tensor:
    """Drop whole layers, as stochastic depth does."""
    if not net.training:
        return h
    return h * torch.bernoulli(torch.full((h.shape[0], 1), 0.8)) / 0.8


X = torch.randn(5, 4)
STEPS = torch.randn(5, 6, 4)
# A network, its inputs, and how many random operators there are in training.
CASES: dict[str, tuple[Callable[[], nn.Module], Batch, int]] = {
    "plain": (lambda: Net(lambda net, h: h * net.scale + net.shift), X, 0),
    "module": (lambda: Net(lambda net, h: net.dropout(h)), X, 1),
    "function": (lambda: Net(lambda net, h: F.dropout(h, 0.2, net.training)), X, 1),
    "only in training": (lambda: Net(by_hand), X, 1),
    "noise": (lambda: Net(lambda net, h: h + torch.randn_like(h)), X, 1),
    "no dropout": (lambda: Net(lambda net, h: F.dropout(h, 0.0, net.training)), X, 0),
    "alpha": (lambda: Net(lambda net, h: F.alpha_dropout(h, 0.2, net.training)), X, 1),
    "rrelu": (lambda: Net(lambda net, h: F.rrelu(h, training=net.training)), X, 1),
    "twice": (
        lambda: Net(lambda net, h: net.dropout(net.end.weight.sum(0) * net.dropout(h))),
        X,
        2,
    ),
    "convolutional": (convolutional, torch.randn(5, 1, 8, 8), 1),
    "lstm": (lambda: Recurrent(nn.LSTM), STEPS, 1),
    "gru": (lambda: Recurrent(nn.GRU), STEPS, 1),
    "encoder": (Encoder, torch.randn(5, 6, 8), 8),
    "named": (Named, {"x": X, "mask": torch.rand(5, 4)}, 1),
    "by place": (Named, {0: X, 1: torch.rand(5, 4)}, 1),
    "weight norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), X, 0),
    "float64": (lambda: Net(lambda net, h: net.dropout(h)).double(), X.double(), 1),
}
EACH = pytest.mark.parametrize("case", CASES)


@cache
def made(case: str, *, training: bool) -> tuple[nn.Module, Batch, Graph]:
    make, x, _ = CASES[case]
    network = make().train(training)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            module.eval()
    return network, x, capture(network, x)


def values_of(graph: Graph, network: nn.Module, x: Batch) -> dict[Any, Tensor]:
    parts = x.values() if isinstance(x, dict) else [x]
    return (
        {node: attrgetter(name)(network) for node, name in graph.weights.items()}
        | dict(graph.constants)
        | dict(zip(graph.inputs, parts, strict=True))
    )


def torch_answers(operator: Any, *args: Any, **kwargs: Any) -> Any:
    return operator(*args, **kwargs)


@torch.no_grad()
def outputs(graph: Graph, network: nn.Module, x: Batch, answer: Answer = torch_answers) -> Tensor:
    shared, drawn = split(graph, graph.random())
    values = values_of(graph, network, x)
    return drawn(values | shared(values, answer), answer)[graph.output]


def called(network: nn.Module, x: Batch) -> Tensor:
    if not isinstance(x, dict):
        found = network(x)
    else:
        found = network(*x.values()) if 0 in x else network(**x)
    return found["logits"] if isinstance(found, dict) else found


def rows(x: Batch, count: int) -> Batch:
    def changed(values: Tensor) -> Tensor:
        return torch.rand(count, *values.shape[1:], dtype=values.dtype)

    return {k: changed(v) for k, v in x.items()} if isinstance(x, dict) else changed(x)


@EACH
@pytest.mark.parametrize("training", [False, True])
def test_a_graph_makes_what_the_network_makes(case: str, training: bool) -> None:
    network, x, graph = made(case, training=training)
    x = rows(x, 9)
    assert graph.suits(x)
    torch.manual_seed(0)
    found = outputs(graph, network, x)
    torch.manual_seed(0)
    with torch.no_grad():
        expected = called(network, x)
    torch.testing.assert_close(found, expected)


@EACH
def test_what_is_random_is_known(case: str) -> None:
    _, _, graph = made(case, training=True)
    assert len(graph.random()) == CASES[case][2]


def test_dropout_of_modules_in_eval_mode_is_known() -> None:
    _, _, graph = made("twice", training=False)
    assert not graph.random()
    assert len(graph.random(dropout=True)) == 2
    _, _, graph = made("no dropout", training=False)
    assert not graph.random(dropout=True)


def test_a_single_recurrent_layer_drops_nothing() -> None:
    with pytest.warns(UserWarning, match="expects num_layers greater than 1"):
        network = Recurrent(nn.LSTM, layers=1).train()
    assert not capture(network, STEPS).random()


def test_what_is_the_same_runs_apart() -> None:
    network, x, graph = made("module", training=True)
    shared, drawn = split(graph, graph.random())
    values = values_of(graph, network, x)
    [middle] = shared(values, torch_answers).values()
    torch.testing.assert_close(middle, network.start(x).relu())
    names = {graph.weights[node] for node in drawn.reads if node in graph.weights}
    assert names == {"end.weight", "end.bias"}


def test_random_operators_are_asked() -> None:
    network, x, graph = made("module", training=True)

    def nothing_dropped(operator: Any, h: Tensor, p: float, train: bool) -> Tensor:
        assert (operator, p, train) == (torch.ops.aten.dropout.default, 0.5, True)
        return h

    found = outputs(graph, network, x, nothing_dropped)
    torch.testing.assert_close(found, network.eval()(x))


def test_weights_that_change_count() -> None:
    network, x, graph = made("plain", training=False)
    with torch.no_grad():
        network.end.weight.mul_(2)
        torch.testing.assert_close(outputs(graph, network, x), network(x))


def test_weights_may_be_what_differs() -> None:
    network, x, graph = made("plain", training=False)
    [weight] = [node for node, name in graph.weights.items() if name == "end.weight"]
    shared, drawn = split(graph, [weight])
    values = values_of(graph, network, x)
    zero = values | shared(values, torch_answers) | {weight: torch.zeros(3, 8)}
    assert weight not in shared.reads
    torch.testing.assert_close(
        drawn(zero, torch_answers)[graph.output], network.end.bias.expand(5, 3)
    )


def test_the_network_stays_as_it_is() -> None:
    class Keeps(Net):
        def forward(self, x: Tensor) -> Tensor:
            self.hidden = self.start(x)
            self.scale.add_(1)
            return self.end(self.hidden)

    network = Keeps(lambda net, h: h)
    before, state = dict(vars(network)), copy.deepcopy(network.state_dict())
    random = torch.get_rng_state()
    graph = capture(network, X)
    assert graph.suits(X)
    assert vars(network) == before
    assert torch.equal(network.scale, torch.full((8,), 2.0))
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name])
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize(
    ("x", "suits"),
    [
        (torch.zeros(1, 4), True),
        (torch.zeros(7, 4), True),
        (torch.zeros(7, 5), False),
        (torch.zeros(7, 4, dtype=torch.float64), False),
        (torch.zeros(7, 4, device="meta"), False),
        ({"x": torch.zeros(7, 4)}, False),
    ],
)
def test_inputs_of_another_form_do_not_suit(x: Batch, suits: bool) -> None:
    assert made("plain", training=False)[2].suits(x) is suits


def test_rows_by_which_a_network_chooses_do_not_suit() -> None:
    def even(net: nn.Module, h: Tensor) -> Tensor:
        return h * 2 if h.shape[0] % 2 == 0 else h

    graph = capture(Net(even), torch.randn(6, 4))
    assert graph.suits(torch.randn(8, 4))
    assert not graph.suits(torch.randn(7, 4))


@pytest.mark.parametrize(
    "between", [lambda net, h: h.view(6, 8), lambda net, h: h * torch.ones(len(h), 1)]
)
def test_rows_that_are_written_down_are_the_only_ones(between: Callable[..., Tensor]) -> None:
    graph = capture(Net(between), torch.randn(6, 4))
    assert graph.suits(torch.randn(6, 4))
    assert not graph.suits(torch.randn(8, 4))


def by_values(net: nn.Module, h: Tensor) -> Tensor:
    return h * 2 if h.sum() > 0 else h


class Locked(Net):
    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("cannot copy a lock")


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Net(by_values), "data-dependent"),
        (Locked(lambda net, h: h), "it cannot be copied: cannot copy a lock"),
        (Net(lambda net, h: torch.from_numpy(h.numpy())), "numpy"),
    ],
)
def test_networks_that_are_no_graph_say_why(
    network: nn.Module, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(NotCaptured, match=f"(?i){reason}"):
        capture(network, X)
    assert capsys.readouterr() == ("", "")  # torch would print the graph so far


def noisy_in_place(net: nn.Module, h: Tensor) -> Tensor:
    noise = torch.empty_like(h).bernoulli_(0.5)
    return h * noise


def dropped_in_place(net: nn.Module, h: Tensor) -> Tensor:
    before = h.view(h.shape[0], 8)
    F.dropout(h, 0.5, True, inplace=True)
    return before


def written_later(net: nn.Module, h: Tensor) -> Tensor:
    dropped = F.dropout(h, 0.5, True)
    same = h.mul_(2)
    return dropped + same


def written_with_draws(net: nn.Module, h: Tensor) -> Tensor:
    return h.mul_(torch.rand_like(h))


@pytest.mark.parametrize("between", [dropped_in_place, written_later, written_with_draws])
def test_writes_to_what_others_read_are_told(between: Callable[..., Tensor]) -> None:
    graph = capture(Net(between), X)
    with pytest.raises(NotCaptured, match="writes to a tensor that others read as it was"):
        split(graph, graph.random())


def test_writes_to_what_nobody_else_reads_are_fine() -> None:
    network = Net(noisy_in_place)
    graph = capture(network, X)
    torch.manual_seed(0)
    found = outputs(graph, network, X)
    torch.manual_seed(0)
    torch.testing.assert_close(found, network(X).detach())
