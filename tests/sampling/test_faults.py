"""An error that comes once costs one prediction its speed, and short memory halves the tiles."""

from __future__ import annotations

import logging
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

import duda
from duda.draw_axis import Axis
from duda.sampling.captures import CapturedRunner

SAMPLES = 20


class Head(nn.Module):
    """A linear layer that counts its calls, and raises errors that are given to it, each once."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 3)
        self.errors: list[Exception] = []
        self.most: int | None = None
        self.calls = 0

    def forward(self, h: Tensor) -> Tensor:
        self.calls += 1
        if self.errors:
            raise self.errors.pop()
        drawn = torch._C._functorch.is_batchedtensor(h)
        draws = torch._C._functorch.get_unwrapped(h).shape[0] if drawn else 1
        if self.most is not None and draws > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.linear(h)


@pytest.fixture
def model() -> duda.MCDropout:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), Head())
    return duda.MCDropout(net, duda.Categorical(), samples=SAMPLES)


def calls_of(model: duda.MCDropout, x: Tensor) -> int:
    model.network[2].calls = 0
    model.predict(x, seed=0)
    return model.network[2].calls


ONCE = (
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("CUDA error: unspecified launch failure"),
    ConnectionError("reset by peer"),
    OSError("too many open files"),
    KeyError("cache"),
)


@pytest.mark.parametrize("error", ONCE, ids=lambda error: type(error).__name__)
def test_an_error_that_comes_once_costs_one_prediction(
    model: duda.MCDropout, error: Exception
) -> None:
    x = torch.randn(5, 4)
    expected = model.predict(x, seed=0).probs
    usual = calls_of(model, x)
    model.network[2].errors = [error]
    torch.testing.assert_close(model.predict(x, seed=0).probs, expected)
    assert calls_of(model, x) == usual


@pytest.mark.parametrize("chunk", [None, 7])
def test_short_memory_halves_the_draws_at_a_time(
    model: duda.MCDropout, chunk: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    x = torch.randn(5, 4)
    expected = model.predict(x, seed=0, keep_draws=True, chunk=chunk).draws
    model.network[2].most = 3
    with caplog.at_level(logging.WARNING):
        found = model.predict(x, seed=0, keep_draws=True, chunk=chunk).draws
    torch.testing.assert_close(found, expected)
    assert "too little memory" in caplog.text
    assert "one by one" not in caplog.text
    model.network[2].most = 0
    with pytest.raises(torch.OutOfMemoryError, match="for one draw of 1 row of a Sequential: take"):
        model.predict(x, seed=0)


class Limited(nn.Module):
    """Takes so many entries at most, of all draws, and notes what it was given.

    Args:
        most: how many.
    """

    def __init__(self, most: float = float("inf")) -> None:
        super().__init__()
        self.most = most
        self.seen: list[tuple[int, int]] = []

    def forward(self, h: Tensor) -> Tensor:
        axis = Axis.of(h)
        draws = 1 if axis is None else axis.size
        if draws * len(h) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        self.seen.append((draws, len(h)))
        return h


class Trunk(nn.Linear):
    """A linear layer that counts its rows."""

    rows = 0

    def forward(self, x: Tensor) -> Tensor:
        self.rows += len(x)
        return super().forward(x)


def limited(kind: str, last: nn.Module) -> duda.UncertainModel:
    torch.manual_seed(0)
    parts = [Trunk(4, 8), nn.Dropout(0.5), nn.Linear(8, 3), Limited(), last]
    net, likelihood = nn.Sequential(*parts), duda.Categorical()
    if kind == "dropout":
        return duda.MCDropout(net, likelihood, samples=SAMPLES)
    if kind == "dropconnect":
        return duda.MCDropConnect(net, likelihood, 0.5, 1, samples=SAMPLES)
    return duda.Variational(net, likelihood, estimator=kind, samples=SAMPLES)


class OneByOne(nn.Module):
    """Looks at its numbers, as vmap cannot."""

    def forward(self, h: Tensor) -> Tensor:
        return h if float(h.sum()) < 1e9 else -h


class Together(nn.Module):
    """Lets rows know of each other."""

    def forward(self, h: Tensor) -> Tensor:
        return h - h.mean(0)


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("kind", ["dropout", "dropconnect", "weight", "local", "flipout"])
def test_short_memory_halves_the_rows_first(kind: str, joint: bool) -> None:
    model, x = limited(kind, nn.Identity()), torch.randn(22, 4)
    expected = model.predict(x, seed=0, joint=joint, keep_draws=True).draws
    memory = model.network[3]
    memory.most, memory.seen, model.network[0].rows = 6 * SAMPLES, [], 0
    found = model.predict(x, seed=0, joint=joint, keep_draws=True).draws
    torch.testing.assert_close(found, expected)
    whole = [rows for draws, rows in memory.seen if draws == SAMPLES]
    assert whole == [6, 6, 6, 4]
    memory.most = SAMPLES // 3  # not even one row with all draws
    found = model.predict(x, seed=0, joint=joint, keep_draws=True).draws
    torch.testing.assert_close(found, expected)


def test_the_trunk_runs_once_for_each_tile_that_fits() -> None:
    model, x = limited("dropout", nn.Identity()), torch.randn(22, 4)
    model.predict(x, seed=0)
    model.network[3].most, model.network[0].rows = 6 * SAMPLES, 0
    model.predict(x, seed=0)
    assert model.network[0].rows == 22 + 11 + 22  # twice not, and then for tiles of 6


@pytest.mark.parametrize("joint", [False, True])
def test_short_memory_halves_the_rows_of_draws_one_by_one(joint: bool) -> None:
    model, x = limited("dropout", OneByOne()), torch.randn(22, 4)
    expected = model.predict(x, seed=0, joint=joint, keep_draws=True).draws
    model.network[3].most = 6
    found = model.predict(x, seed=0, joint=joint, keep_draws=True).draws
    torch.testing.assert_close(found, expected)


def test_rows_that_need_each_other_stay_together_in_short_memory() -> None:
    model, x = limited("dropout", Together()), torch.randn(22, 4)
    expected = model.predict(x, seed=0, keep_draws=True).draws
    model.network[3].most = 3 * 22
    torch.testing.assert_close(model.predict(x, seed=0, keep_draws=True).draws, expected)
    model.network[3].most = 21
    with pytest.raises(torch.OutOfMemoryError, match=r"one draw of 22 rows .* `batch_size`"):
        model.predict(x, seed=0)


def test_a_captured_network_goes_on_by_itself_in_short_memory() -> None:
    model, x = limited("dropout", nn.Identity()), torch.randn(22, 4)
    model.prepare(x)
    expected = model.predict(x, seed=0, keep_draws=True).draws
    error = torch.OutOfMemoryError("CUDA out of memory.")
    with patch.object(CapturedRunner, "run", side_effect=error):
        found = model.predict(x, seed=0, keep_draws=True).draws
    torch.testing.assert_close(found, expected)


def test_an_error_of_the_network_itself_comes_through(model: duda.MCDropout) -> None:
    model.network[2].errors = [KeyError("cache"), KeyError("cache")]
    with pytest.raises(KeyError, match="cache"):
        model.predict(torch.randn(5, 4))
