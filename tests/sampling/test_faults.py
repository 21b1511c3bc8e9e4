"""An error that comes once costs one prediction its speed, and short memory halves the draws."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor, nn

import duda

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
    with pytest.raises(torch.OutOfMemoryError):
        model.predict(x, seed=0)


def test_an_error_of_the_network_itself_comes_through(model: duda.MCDropout) -> None:
    model.network[2].errors = [KeyError("cache"), KeyError("cache")]
    with pytest.raises(KeyError, match="cache"):
        model.predict(torch.randn(5, 4))
