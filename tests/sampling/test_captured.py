"""Draws by a captured network: the same as without, from parts that are known to be shared."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import duda
from duda.graphs import NotCaptured, programs
from duda.sampling.captures import captured_network as module
from duda.sampling.captures import plans
from tests.sampling.networks import HIDING_PLACES, WIDTH, Body

X = torch.randn(5, 4, WIDTH, generator=torch.Generator().manual_seed(0))


class Attention(nn.Module):
    """Passes its dropout on in train mode alone."""

    def forward(self, x: Tensor) -> Tensor:
        p = 0.4 if self.training else 0.0
        return F.scaled_dot_product_attention(x, x, x, dropout_p=p)


def own_noise(module: nn.Module, h: Tensor) -> Tensor:
    return F.dropout(h, 0.3) + 0.1 * torch.randn_like(h) + torch.rand(h.shape[0], 1, 1)


def attention_after_dropout(module: nn.Module, h: Tensor) -> Tensor:
    h = F.dropout(h, 0.3)
    return F.scaled_dot_product_attention(h, h, h)


OTHERS: dict[str, Callable[[], nn.Module]] = {
    "in train mode": lambda: Body(Attention()),
    "own noise": lambda: Body(own_noise),
    "attention after dropout": lambda: Body(attention_after_dropout),
    "norm": lambda: nn.Sequential(nn.Flatten(1), nn.BatchNorm1d(4 * WIDTH), nn.Dropout(0.5)),
}
NETWORKS = HIDING_PLACES | OTHERS


def draws(model: duda.MCDropout, x: Tensor = X, **options: Any) -> Tensor:
    return model.predict(x, seed=0, keep_draws=True, **options).draws


@pytest.mark.parametrize("name", NETWORKS)
def test_draws_are_those_of_the_network(name: str, runs: list[str]) -> None:
    model = duda.MCDropout(NETWORKS[name](), duda.Categorical(), samples=7)
    options: list[dict[str, Any]] = [{}, {"joint": True}, {"chunk": 2}, {"batch_size": 3}]
    expected = [draws(model, **each) for each in options]
    model.prepare(X)
    runs.clear()
    for one, each in zip(expected, options, strict=True):
        torch.testing.assert_close(draws(model, **each), one)
    joint_probes = runs.count("_Runner")
    assert runs.count("CapturedRunner") >= len(options)
    assert joint_probes == 0


def test_attention_of_all_draws_is_one_call(runs: list[str]) -> None:
    model = duda.MCDropout(Body(attention_after_dropout), duda.Categorical(), samples=20)
    one_by_one = draws(model, chunk=1)
    runs.clear()
    torch.testing.assert_close(draws(model, chunk=20), one_by_one)
    assert runs == ["_Runner"]


def test_what_is_shared_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = duda.MCDropout(Body(own_noise), duda.Categorical(), samples=50).prepare(X)
    counts = []
    shared = module.Captured.shared
    monkeypatch.setattr(
        module.Captured, "shared", lambda *given: counts.append(1) or shared(*given)
    )
    model.predict(X, chunk=10)
    assert counts == [1]


def test_weights_that_change_count() -> None:
    model = duda.MCDropout(OTHERS["norm"](), duda.Categorical(), samples=3).prepare(X)
    with torch.no_grad():
        model.network[1].weight.mul_(2)
        model.network[1].running_mean.add_(1)
    other = duda.MCDropout(copy.deepcopy(model.network), duda.Categorical(), samples=3)
    torch.testing.assert_close(draws(model), draws(other))


def more_dropout(network: nn.Module) -> None:
    network[2].p = 0.9


def another_layer(network: nn.Module) -> None:
    network[1] = nn.LayerNorm(4 * WIDTH)


def a_hook(network: nn.Module) -> None:
    network[0].register_forward_hook(lambda module, args, outputs: outputs * 2)


def other_weights(network: nn.Module) -> None:
    network[1].weight = nn.Parameter(torch.full((4 * WIDTH,), 3.0))


@pytest.mark.parametrize("change", [more_dropout, another_layer, a_hook])
def test_a_network_that_changes_runs_itself(
    change: Callable[[nn.Module], None], runs: list[str]
) -> None:
    model = duda.MCDropout(OTHERS["norm"](), duda.Categorical(), samples=3).prepare(X)
    change(model.network)
    other = duda.MCDropout(copy.deepcopy(model.network), duda.Categorical(), samples=3)
    expected = draws(other)
    runs.clear()
    torch.testing.assert_close(draws(model), expected)
    assert runs == ["_Runner"]


def test_other_weights_of_the_same_shape_count(runs: list[str]) -> None:
    model = duda.MCDropout(OTHERS["norm"](), duda.Categorical(), samples=3).prepare(X)
    other_weights(model.network)
    other = duda.MCDropout(copy.deepcopy(model.network), duda.Categorical(), samples=3)
    expected = draws(other)
    runs.clear()
    torch.testing.assert_close(draws(model), expected)
    assert runs == ["CapturedRunner"]


def test_inputs_of_another_shape_run_the_network(runs: list[str]) -> None:
    model = duda.MCDropout(Body(own_noise), duda.Categorical(), samples=3)
    longer = torch.randn(2, 6, WIDTH)
    expected = draws(model, longer)
    model.prepare(X)
    runs.clear()
    torch.testing.assert_close(draws(model, longer), expected)
    assert runs == ["_Runner"]
    model.prepare(longer)
    runs.clear()
    torch.testing.assert_close(draws(model, longer), expected)
    assert runs == ["CapturedRunner"]


def test_it_goes_to_no_copy_and_is_forgotten_with_the_network() -> None:
    model = duda.MCDropout(OTHERS["norm"](), duda.Categorical(), samples=3).prepare(X)
    other = copy.deepcopy(model)
    assert model.network in plans._plans
    assert other.network not in plans._plans
    torch.testing.assert_close(draws(other), draws(model))
    network = weakref.ref(model.network)
    del model
    gc.collect()
    assert network() is None


def by_values(module: nn.Module, h: Tensor) -> Tensor:
    h = F.dropout(h, 0.3)
    return h * 2 if h.sum() > 0 else h


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: duda.MCDropout(Body(by_values), duda.Categorical()), "data-dependent"),
        (lambda: duda.Deterministic(Body(nn.Identity()), duda.Categorical()), "it makes no draws"),
        (
            lambda: duda.SubEnsemble(lambda: Body(own_noise), duda.Categorical(), members=2),
            "it makes no draws by one network",
        ),
        (
            lambda: duda.MCDropout(
                Body(lambda m, h: F.dropout(h, 0.3) * torch.poisson(h.abs())), duda.Categorical()
            ),
            "`poisson` cannot have numbers of its own",
        ),
    ],
)
def test_what_cannot_be_captured_is_told(
    make: Callable[[], duda.UncertainModel], reason: str
) -> None:
    model = make()
    with pytest.raises(NotCaptured, match=rf"(?i)cannot be captured, because.*{reason}.*work with"):
        model.prepare(X)
    assert not any(plans._plans.get(module) for module in model.modules())
    model.predict(X, samples=1 if isinstance(model, duda.Deterministic) else 2)


def test_a_graph_with_other_draws_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    right = module.Captured.outputs

    def wrong(*given: Any) -> Tensor:
        return right(*given) + 0.1

    monkeypatch.setattr(module.Captured, "outputs", wrong)
    model = duda.MCDropout(Body(own_noise), duda.Categorical(), samples=3)
    with pytest.raises(NotCaptured, match="a draw of the graph is another than one of the network"):
        model.prepare(X)
    assert not plans._plans.get(model.network, {})


def test_paths_of_an_sde_are_captured(runs: list[str]) -> None:
    block = duda.layers.SDEBlock(nn.Linear(4, 4), nn.Linear(4, 1))
    model = duda.SDENet(
        nn.Sequential(nn.Linear(WIDTH, 4), block, nn.Linear(4, 3)), duda.Categorical()
    )
    expected = draws(model, X[:, 0], samples=5)
    model.prepare(X[:, 0])
    runs.clear()
    torch.testing.assert_close(draws(model, X[:, 0], samples=5), expected)
    assert set(runs) == {"CapturedRunner"}


class Compiler:
    """Runs what it is to compile as it is, and counts it."""

    def __init__(self) -> None:
        self.programs: list[int] = []

    def __call__(self, traced: Any, given: Any, *, cuda_graphs: bool) -> Any:
        self.programs.append(len(traced.graph.nodes))
        return traced


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Compiler:
    found = Compiler()
    monkeypatch.setattr(programs, "_compiled", found)
    return found


COMPILED = ["F.dropout", "encoder", "GRU", "own noise", "norm", "dropout in place"]


@pytest.mark.parametrize("name", COMPILED)
def test_draws_of_compiled_parts_are_those_of_the_network(name: str, compiler: Compiler) -> None:
    model = duda.MCDropout(NETWORKS[name](), duda.Categorical(), samples=7)
    options: list[dict[str, Any]] = [{}, {"joint": True}, {"chunk": 2}, {"batch_size": 3}]
    expected = [draws(model, **each) for each in options]
    other = draws(model, 2 * X)
    model.prepare(X, compile=True)
    assert len(compiler.programs) == 2
    for one, each in zip(expected, options, strict=True):
        torch.testing.assert_close(draws(model, **each), one)
    torch.testing.assert_close(draws(model, 2 * X), other)
    assert len(compiler.programs) <= 8


def test_compiled_parts_follow_weights_and_seeds(compiler: Compiler) -> None:
    model = duda.MCDropout(Body(own_noise), duda.Categorical(), samples=3).prepare(X, compile=True)
    first = len(compiler.programs)
    with torch.no_grad():
        model.network.last.weight.mul_(2)
    plain = duda.MCDropout(copy.deepcopy(model.network), duda.Categorical(), samples=3)
    for seed in (0, 1):
        found, one = (each.predict(X, seed=seed, keep_draws=True) for each in (model, plain))
        torch.testing.assert_close(found.draws, one.draws)
    assert len(compiler.programs) == first
    model.network.last.weight = nn.Parameter(torch.ones(3, WIDTH))
    plain = duda.MCDropout(copy.deepcopy(model.network), duda.Categorical(), samples=3)
    torch.testing.assert_close(draws(model), draws(plain))
    assert len(compiler.programs) > first


def test_inputs_that_the_drawn_part_reads_are_no_part_of_a_program(compiler: Compiler) -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(WIDTH, 3)

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return F.dropout(self.layer(x), 0.5) * mask

    first, second = ({"x": X[:, 0], "mask": torch.rand(5, 3)} for _ in range(2))
    model = duda.MCDropout(Masked(), duda.Categorical(), samples=3)
    expected = [draws(model, each) for each in (first, second)]
    model.prepare(first, compile=True)
    for each, one in zip((first, second), expected, strict=True):
        torch.testing.assert_close(draws(model, each), one)


def test_a_compiler_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> Any:
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr(programs, "_compiled", missing)
    model = duda.MCDropout(Body(own_noise), duda.Categorical(), samples=3)
    expected = draws(model)
    with pytest.raises(NotCaptured, match="does not compile it: No working C"):
        model.prepare(X, compile=True)
    torch.testing.assert_close(draws(model), expected)
    assert not plans._plans.get(model.network)


def test_a_compiler_that_fails_later_is_told_once(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = duda.MCDropout(Body(own_noise), duda.Categorical(), samples=3)
    expected = draws(model, X[:2])
    model.prepare(X, compile=True)
    monkeypatch.setattr(programs, "_compiled", lambda *_, **__: 1 / 0)
    for _ in range(2):
        torch.testing.assert_close(draws(model, X[:2]), expected)
    assert [each.getMessage() for each in caplog.records if each.name.startswith("duda")] == [
        "a captured network runs without a compiler, because torch's compiler does not compile it: "
        "division by zero"
    ]


def test_drawn_weights_are_part_of_no_program(compiler: Compiler) -> None:
    model = duda.MCDropConnect(Body(own_noise), duda.Categorical(), samples=3)
    with pytest.raises(NotCaptured, match="weights that differ by draw are part of no program"):
        model.prepare(X, compile=True)


@pytest.mark.nightly
def test_inductor_compiles() -> None:
    model = duda.MCDropout(Body(own_noise), duda.Categorical(), samples=3)
    expected = draws(model)
    try:
        model.prepare(X, compile=True)
    except NotCaptured as error:  # as where there is no compiler of C++
        pytest.skip(str(error))
    torch.testing.assert_close(draws(model), expected)
