"""What a prediction does besides running the network is counted: walks, and calls that are watched.

Nothing of a walk is kept from one prediction to the next, so that a change in between counts.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import duda
from duda.batches import Batch
from duda.inside import modules_in
from duda.methods.sampler import Sampler
from duda.preservation import preserved
from duda.written import WeightGuard, guarded


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))


def shared() -> nn.Module:
    part = nn.Linear(2, 2)
    network = nn.ModuleDict({"a": nn.Sequential(part, nn.ReLU()), "b": part})
    network.register_module("none", None)
    network["a"].add_module("loop", network["b"])
    return network


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mlp": mlp,
    "shared": shared,
    "encoder": lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, batch_first=True), 2),
    "scripted": lambda: torch.jit.script(nn.Sequential(nn.Linear(2, 2), nn.ReLU())),
}


@pytest.mark.filterwarnings("ignore:.*script.*:DeprecationWarning")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_walk_finds_what_torch_finds_in_its_order(name: str) -> None:
    network = NETWORKS[name]()
    assert [*map(id, modules_in(network))] == [*map(id, network.modules())]


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the modules that torch's walks come by."""
    found: list[str] = []
    walk = nn.Module.named_modules

    def noted(self: nn.Module, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Module]]:
        for name, module in walk(self, *args, **kwargs):
            found.append(name)
            yield name, module

    monkeypatch.setattr(nn.Module, "named_modules", noted)
    return found


METHODS: dict[str, Callable[[], duda.UncertainModel]] = {
    "deterministic": lambda: duda.Deterministic(mlp(), duda.Categorical()),
    "mc-dropout": lambda: duda.MCDropout(mlp(), duda.Categorical()),
    "deep-ensemble": lambda: duda.DeepEnsemble(mlp, duda.Categorical(), members=5),
}


@pytest.mark.parametrize("method", METHODS)
def test_a_second_prediction_does_not_walk_by_generators(method: str, walks: list[str]) -> None:
    model, x = METHODS[method](), torch.randn(1, 4)
    model.predict(x, seed=0)
    walks.clear()
    model.predict(x, seed=0)
    # The first weight, whose dtype the inputs get, is looked for alone.
    assert len(walks) <= 10


@pytest.mark.parametrize("batches", [1, 3])
def test_only_the_networks_calls_are_watched(batches: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By one mode, that of the draws: calls pass two of them in twice the time."""
    network, x, calls = mlp(), torch.randn(batches, 4), []
    model = duda.MCDropout(network, duda.Categorical())
    model.predict(x)
    note = WeightGuard.note

    def noted(self: WeightGuard, func: Any, *args: Any) -> None:
        calls.append(func)
        note(self, func, *args)

    monkeypatch.setattr(WeightGuard, "note", noted)
    monkeypatch.delattr(WeightGuard, "__torch_function__")
    model.predict(x, batch_size=1)
    assert len(calls) == batches * 4


class Writing(nn.Module):
    """Writes to a weight, in each pass."""

    def __init__(self, weight: nn.Parameter | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.target = [self.linear.weight if weight is None else weight]

    def forward(self, x: Tensor) -> Tensor:
        self.target[0].data.mul_(2)
        return self.linear(x)


class Direct(duda.UncertainModel):
    """A method that somebody else wrote, which calls its network itself."""

    def __init__(self, network: nn.Module, likelihood: duda.Likelihood) -> None:
        super().__init__(likelihood, samples=1)
        self.network = network

    def forward(self, x: Batch) -> Tensor:
        return self.network(x)

    def sampler(self, samples: int, joint: bool = False) -> Sampler:
        return Sampler(lambda x, chunk: (self.network(x)[None] for _ in range(2)), joint=True)


def test_a_network_that_a_method_calls_itself_is_watched() -> None:
    network = Writing()
    before = network.linear.weight.detach().clone()
    Direct(network, duda.Categorical()).predict(torch.randn(3, 4))
    assert torch.equal(network.linear.weight, before)


class Clamping(nn.Module):
    """Writes to its weight, before anything that is random."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.dropout = nn.Linear(4, 3), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.linear.weight.clamp_(-0.1, 0.1)
        return self.dropout(self.linear(x))


@pytest.mark.parametrize("chunk", [None, 1])
def test_a_captured_network_that_writes_to_weights_leaves_them(chunk: int | None) -> None:
    network, x = Clamping(), torch.randn(3, 4)
    before = network.linear.weight.detach().clone()
    model = duda.MCDropout(network, duda.Categorical(), samples=3)
    expected = model.predict(x, seed=0).probs
    assert torch.equal(network.linear.weight, before)
    model.prepare(x)
    assert torch.equal(network.linear.weight, before)
    torch.testing.assert_close(model.predict(x, seed=0, chunk=chunk).probs, expected)
    assert torch.equal(network.linear.weight, before)


def test_a_sampler_that_raises_leaves_no_mode_behind() -> None:
    model = Direct(nn.Linear(4, 2), duda.Categorical())
    for samples in (1, 2):
        answer = model.sampler(samples)(torch.randn(3, 4))
        next(answer)
        assert torch._C._len_torch_function_stack() == 0


def test_a_guard_outside_watches_what_another_guards_inside() -> None:
    outer = nn.Linear(4, 3)
    inner = Writing(outer.weight)
    before = outer.weight.detach().clone()
    with preserved(outer):
        with preserved(inner), guarded():
            inner(torch.randn(2, 4))
        assert not torch.equal(outer.weight, before)
    assert torch.equal(outer.weight, before)


CHANGES: dict[str, Callable[[nn.Sequential], object]] = {
    "another layer": lambda net: net.__setitem__(3, nn.Linear(8, 3)),
    "p": lambda net: setattr(net[2], "p", 0.9),
    "a hook": lambda net: net[0].register_forward_hook(lambda *args: args[2] * 2),
    "a weight": lambda net: setattr(net[0], "weight", nn.Parameter(torch.ones(8, 4))),
    "values of a weight": lambda net: net[0].weight.data.fill_(1),
    "one layer more": lambda net: net.append(nn.Linear(3, 3)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_between_predictions_counts(change: str) -> None:
    network, x = mlp(), torch.randn(2, 4)
    model = duda.MCDropout(network, duda.Categorical())
    model.predict(x, seed=0)
    CHANGES[change](network)
    new = duda.MCDropout(copy.deepcopy(network), duda.Categorical()).predict(x, seed=0)
    torch.testing.assert_close(model.predict(x, seed=0).probs, new.probs)


def test_modes_and_gradients_that_change_between_predictions_stay() -> None:
    network, x = mlp(), torch.randn(2, 4)
    model = duda.MCDropout(network, duda.Categorical())
    for training in (True, False, True):
        network[2].train(training)
        network[0].requires_grad_(training)
        model.predict(x)
        assert network[2].training is training
        assert network[0].weight.requires_grad is training
