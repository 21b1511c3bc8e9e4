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
from duda.graphs import NotCaptured
from duda.sampling import captured as module
from duda.sampling import plans
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


@pytest.fixture(autouse=True)
def only_graphs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keep which runner made draws."""
    runs: list[str] = []
    for kind in (module.CapturedRunner, duda.sampling.executors._Runner):
        run = kind.run

        def noted(self: Any, start: int, size: int, run: Any = run, kind: Any = kind) -> Tensor:
            runs.append(kind.__name__)
            return run(self, start, size)

        monkeypatch.setattr(kind, "run", noted)
    return runs


def draws(model: duda.MCDropout, x: Tensor = X, **options: Any) -> Tensor:
    return model.predict(x, seed=0, keep_draws=True, **options).draws


@pytest.mark.parametrize("name", NETWORKS)
def test_draws_are_those_of_the_network(name: str, only_graphs: list[str]) -> None:
    model = duda.MCDropout(NETWORKS[name](), duda.Categorical(), samples=7)
    options: list[dict[str, Any]] = [{}, {"joint": True}, {"chunk": 2}, {"batch_size": 3}]
    expected = [draws(model, **each) for each in options]
    model.prepare(X)
    only_graphs.clear()
    for one, each in zip(expected, options, strict=True):
        torch.testing.assert_close(draws(model, **each), one)
    joint_probes = only_graphs.count("_Runner")
    assert only_graphs.count("CapturedRunner") >= len(options)
    assert joint_probes == 0


def test_attention_of_all_draws_is_one_call(only_graphs: list[str]) -> None:
    model = duda.MCDropout(Body(attention_after_dropout), duda.Categorical(), samples=20)
    one_by_one = draws(model, chunk=1)
    only_graphs.clear()
    torch.testing.assert_close(draws(model, chunk=20), one_by_one)
    assert only_graphs == ["_Runner"]


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
    change: Callable[[nn.Module], None], only_graphs: list[str]
) -> None:
    model = duda.MCDropout(OTHERS["norm"](), duda.Categorical(), samples=3).prepare(X)
    change(model.network)
    other = duda.MCDropout(copy.deepcopy(model.network), duda.Categorical(), samples=3)
    expected = draws(other)
    only_graphs.clear()
    torch.testing.assert_close(draws(model), expected)
    assert only_graphs == ["_Runner"]


def test_other_weights_of_the_same_shape_count(only_graphs: list[str]) -> None:
    model = duda.MCDropout(OTHERS["norm"](), duda.Categorical(), samples=3).prepare(X)
    other_weights(model.network)
    other = duda.MCDropout(copy.deepcopy(model.network), duda.Categorical(), samples=3)
    expected = draws(other)
    only_graphs.clear()
    torch.testing.assert_close(draws(model), expected)
    assert only_graphs == ["CapturedRunner"]


def test_inputs_of_another_shape_run_the_network(only_graphs: list[str]) -> None:
    model = duda.MCDropout(Body(own_noise), duda.Categorical(), samples=3)
    longer = torch.randn(2, 6, WIDTH)
    expected = draws(model, longer)
    model.prepare(X)
    only_graphs.clear()
    torch.testing.assert_close(draws(model, longer), expected)
    assert only_graphs == ["_Runner"]
    model.prepare(longer)
    only_graphs.clear()
    torch.testing.assert_close(draws(model, longer), expected)
    assert only_graphs == ["CapturedRunner"]


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
            "which of its weights differ",
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


def test_paths_of_an_sde_are_captured(only_graphs: list[str]) -> None:
    block = duda.layers.SDEBlock(nn.Linear(4, 4), nn.Linear(4, 1))
    model = duda.SDENet(
        nn.Sequential(nn.Linear(WIDTH, 4), block, nn.Linear(4, 3)), duda.Categorical()
    )
    expected = draws(model, X[:, 0], samples=5)
    model.prepare(X[:, 0])
    only_graphs.clear()
    torch.testing.assert_close(draws(model, X[:, 0], samples=5), expected)
    assert set(only_graphs) == {"CapturedRunner"}
