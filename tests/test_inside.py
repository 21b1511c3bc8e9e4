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
from duda.harmless import are_harmless
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
    network, x, calls = nn.Sequential(*mlp(), nn.Sequential()), torch.randn(batches, 4), []
    network[4].register_forward_hook(lambda *_: None)  # which might write
    model = duda.MCDropout(network, duda.Categorical())
    model.predict(x)
    note = WeightGuard.note

    def noted(self: WeightGuard, func: Any, *args: Any) -> None:
        calls.append(func)
        note(self, func, *args)

    monkeypatch.setattr(WeightGuard, "note", noted)
    monkeypatch.delattr(WeightGuard, "__torch_function__")
    model.predict(x, batch_size=1)
    assert len(calls) == batches * 2  # relu and dropout can write in place


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


def hooked(module: nn.Module, write: Callable[[nn.Module], object]) -> None:
    module.register_forward_pre_hook(lambda m, args: write(m) and None)


def replaced(module: nn.Module, write: Callable[[nn.Module], object]) -> None:
    forward = module.forward
    module.forward = lambda x: (write(module), forward(x))[1]


def subclassed(module: nn.Module, write: Callable[[nn.Module], object]) -> None:
    def forward(self: nn.Module, x: Tensor) -> Tensor:
        write(self)
        return nn.Linear.forward(self, x)

    module.__class__ = type("Own", (nn.Linear,), {"forward": forward})


HARMS = {"hook": hooked, "forward": replaced, "class": subclassed}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("method", METHODS)
def test_a_network_that_nobody_had_to_watch_is_watched_once_it_may_write(
    method: str, harm: str
) -> None:
    model, x = METHODS[method](), torch.randn(2, 4)
    assert are_harmless(modules_in(model)[1:])
    model.predict(x, seed=0)
    first = next(each for each in model.modules() if isinstance(each, nn.Linear))
    HARMS[harm](first, lambda module: (module.weight.data.mul_(2), setattr(module, "kept", x + 1)))
    before = first.weight.detach().clone()
    for _ in range(2):
        model.predict(x, seed=0)
        assert torch.equal(first.weight, before)
    copy.deepcopy(model)


def test_all_layers_of_torch_that_are_called_harmless_are() -> None:
    x = torch.randn(2, 4, 6, 6)
    layers: list[tuple[nn.Module, Tensor]] = [
        (nn.BatchNorm2d(4), x),
        (nn.BatchNorm2d(4, track_running_stats=False), x),
        (nn.InstanceNorm2d(4, affine=True, track_running_stats=True), x),
        (nn.GroupNorm(2, 4), x),
        (nn.Conv2d(4, 2, 3, padding_mode="circular"), x),
        (nn.ConvTranspose2d(4, 2, 3), x),
        (nn.PReLU(), x),
        (nn.RReLU(), x),
        (nn.ReLU(inplace=True), x.clone()),
        (nn.FractionalMaxPool2d(2, output_ratio=0.5), x),
        (nn.LocalResponseNorm(2), x),
        (nn.Upsample(scale_factor=2), x),
        (nn.TransformerEncoderLayer(6, 2, batch_first=True), x[:, 0]),
        (nn.Bilinear(6, 6, 2), x),
    ]
    for layer, inputs in layers:
        module = layer.eval()
        assert are_harmless(module.modules())
        attributes = {id(m): dict(vars(m)) for m in module.modules()}
        weights = [*module.parameters(), *module.buffers()]
        versions = [each._version for each in weights]
        module(*[inputs] * (1 + isinstance(module, nn.Bilinear)))
        assert [each._version for each in weights] == versions
        assert all(vars(m) == attributes[id(m)] for m in module.modules())


@pytest.mark.parametrize(
    "module",
    [nn.Embedding(3, 2, max_norm=1.0), nn.LSTM(2, 2), nn.LazyLinear(2), nn.Module()],
    ids=lambda module: type(module).__name__,
)
def test_others_are_not(module: nn.Module) -> None:
    assert not are_harmless([module])


def test_a_global_hook_may_write() -> None:
    model = METHODS["deterministic"]()
    before = model.network[0].weight.detach().clone()

    def write(module: nn.Module, args: Any) -> None:
        if isinstance(module, nn.Linear):
            module.weight.data.add_(1)

    handle = nn.modules.module.register_module_forward_pre_hook(write)
    try:
        model.predict(torch.randn(2, 4))
    finally:
        handle.remove()
    assert torch.equal(model.network[0].weight, before)
