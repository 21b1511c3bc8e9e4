"""Captures without `prepare`: where draws have taken long, once, with the same draws."""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import duda
from duda.sampling import HiddenDropout
from duda.sampling.captures import plans
from duda.sampling.randomness import DrawnWeights
from tests.sampling.networks import WIDTH, Body

X = torch.randn(40, 4, WIDTH, generator=torch.Generator().manual_seed(0))
CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let each look at the clock find it so many seconds later."""

    def ticks(seconds: float) -> None:
        times = itertools.count(0.0, seconds)
        monkeypatch.setattr(plans, "_clock", lambda: next(times))

    return ticks


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, "duda")
    return lambda: [each.getMessage() for each in caplog.records if "captured" in each.getMessage()]


def draws(model: duda.MCDropout) -> Tensor:
    return model.predict(X, seed=0, keep_draws=True, batch_size=4).draws


@pytest.mark.parametrize(
    ("seconds", "batches", "gpu", "cpu"),
    [(10.0, 1000, False, False), (30.0, 1000, True, True), (30.0, 100, True, False)],
)
def test_it_pays_after_some_seconds_on_a_gpu_or_in_short_batches(
    seconds: float, batches: int, gpu: bool, cpu: bool
) -> None:
    spent = plans._Spent(seconds, batches)
    assert spent.pays(GPU, HiddenDropout()) is gpu
    assert spent.pays(CPU, HiddenDropout()) is cpu
    weights = DrawnWeights(nn.Identity(), lambda _: {}, ["weight"])
    assert spent.pays(GPU, weights) is gpu
    assert not spent.pays(CPU, weights)
    spent.tried = True
    assert not spent.pays(GPU, HiddenDropout())


def test_a_long_prediction_captures_by_itself(
    clock: Callable[[float], None],
    said: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = Body(nn.Dropout(0.5))
    expected = draws(duda.MCDropout(copy.deepcopy(network), duda.Categorical(), samples=3))
    monkeypatch.setattr(plans, "_SECONDS", 0.05)
    clock(0.01)
    model = duda.MCDropout(network, duda.Categorical(), samples=3)
    torch.testing.assert_close(draws(model), expected)
    assert said() == ["Body is captured, as its draws have taken 0 s"]
    assert plans._plans[network]
    torch.testing.assert_close(draws(model), expected)
    assert len(said()) == 1


def test_short_predictions_capture_nothing(clock: Callable[[float], None]) -> None:
    clock(0.01)
    network = Body(nn.Dropout(0.5))
    draws(duda.MCDropout(network, duda.Categorical(), samples=3))
    assert not plans._plans.get(network)


def test_long_batches_of_a_cpu_capture_nothing(clock: Callable[[float], None]) -> None:
    clock(10.0)
    network = Body(nn.Dropout(0.5))
    draws(duda.MCDropout(network, duda.Categorical(), samples=3))
    assert not plans._plans.get(network)


def test_what_cannot_be_captured_says_why_once(
    clock: Callable[[float], None], said: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_values(module: nn.Module, h: Tensor) -> Tensor:
        return F.dropout(h * 2 if h.sum() > 0 else h, 0.3)

    network = Body(by_values)
    expected = draws(duda.MCDropout(copy.deepcopy(network), duda.Categorical(), samples=3))
    monkeypatch.setattr(plans, "_SECONDS", 0.05)
    clock(0.01)
    model = duda.MCDropout(network, duda.Categorical(), samples=3)
    for _ in range(2):
        torch.testing.assert_close(draws(model), expected)
    [line] = said()
    assert line.startswith("Body is not captured, because ")
    assert "data-dependent" in line


def test_a_graph_with_other_draws_is_not_used(
    clock: Callable[[float], None], said: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = plans.Captured.outputs
    monkeypatch.setattr(plans.Captured, "outputs", lambda *given: right(*given) + 0.1)
    network = Body(nn.Dropout(0.5))
    expected = draws(duda.MCDropout(copy.deepcopy(network), duda.Categorical(), samples=3))
    monkeypatch.setattr(plans, "_SECONDS", 0.05)
    clock(0.01)
    torch.testing.assert_close(
        draws(duda.MCDropout(network, duda.Categorical(), samples=3)), expected
    )
    assert said() == [
        "Body is not captured, because a draw of the graph is another than one of the network"
    ]


def test_random_state_and_weights_stay(
    clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "_SECONDS", 0.05)
    clock(0.01)
    model = duda.MCDropout(Body(nn.Dropout(0.5)).train(), duda.Categorical(), samples=3)
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    draws(model)
    assert plans._plans[model.network]
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in model.network.modules())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
