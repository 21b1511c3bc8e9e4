"""Networks that were passed through `torch.compile`: draws are made of what they were before."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import duda
from duda.uncompiled import as_written
from tests.sampling.networks import WIDTH, Body

X = torch.randn(6, 4, WIDTH, generator=torch.Generator().manual_seed(0))


class Compiler:
    """A backend that counts what it compiles."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, module: Any, inputs: Any) -> Any:
        self.graphs += 1
        return module.forward


def whole(network: nn.Module, backend: Compiler) -> nn.Module:
    return torch.compile(network, backend=backend)  # type: ignore[return-value]


def start(network: nn.Module, backend: Compiler) -> nn.Module:
    network.first = torch.compile(network.first, backend=backend)
    return network


def end(network: nn.Module, backend: Compiler) -> nn.Module:
    network.last = torch.compile(network.last, backend=backend)
    return network


def in_place(network: nn.Module, backend: Compiler) -> nn.Module:
    network.compile(backend=backend)
    return network


WAYS = [whole, start, end, in_place]
METHODS: dict[str, Callable[[nn.Module], duda.UncertainModel]] = {
    "dropout": lambda network: duda.MCDropout(network, duda.Categorical(), samples=5),
    "drop-connect": lambda network: duda.MCDropConnect(network, duda.Categorical(), samples=5),
    "variational": lambda network: duda.Variational(network, duda.Categorical(), samples=5),
}


@pytest.fixture
def compiler() -> Any:
    torch._dynamo.reset()
    yield Compiler()
    torch._dynamo.reset()


def draws(model: duda.UncertainModel, **options: Any) -> Tensor:
    return model.predict(X, seed=0, keep_draws=True, **options).draws


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("way", WAYS)
def test_draws_are_those_of_what_was_compiled(
    way: Callable[..., nn.Module],
    method: str,
    compiler: Compiler,
    caplog: pytest.LogCaptureFixture,
) -> None:
    network = Body(nn.Dropout(0.5)).eval()
    expected = draws(METHODS[method](network))
    model = METHODS[method](way(copy.deepcopy(network), compiler))
    with caplog.at_level(logging.WARNING, "duda"):
        torch.testing.assert_close(draws(model), expected)
        torch.testing.assert_close(draws(model.prepare(X)), expected)
    assert not caplog.records


@pytest.mark.parametrize("way", WAYS)
def test_joint_draws_too(way: Callable[..., nn.Module], compiler: Compiler) -> None:
    network = Body(nn.Dropout(0.5)).eval()
    expected = draws(METHODS["dropout"](network), joint=True)
    model = METHODS["dropout"](way(copy.deepcopy(network), compiler))
    torch.testing.assert_close(draws(model, joint=True), expected)
    assert compiler.graphs == 0


def test_what_is_compiled_is_so_again_afterwards(compiler: Compiler) -> None:
    network = whole(Body(nn.Dropout(0.5)).eval(), compiler)
    draws(METHODS["dropout"](network))
    assert compiler.graphs == 0
    network(X)
    assert compiler.graphs > 0


def test_threads_that_overlap_leave_compilers_on(compiler: Compiler) -> None:
    network = whole(nn.Linear(2, 2), compiler)
    inside, done = threading.Event(), threading.Event()

    def other() -> None:
        with as_written():
            inside.set()
            done.wait(10)

    thread = threading.Thread(target=other)
    with as_written():
        thread.start()
        inside.wait(10)
    network(torch.ones(1, 2))
    assert compiler.graphs == 0
    done.set()
    thread.join()
    network(torch.ones(1, 2))
    assert compiler.graphs == 1


def test_networks_without_a_length_are_taken(compiler: Compiler) -> None:
    model = duda.Deterministic(whole(Body(nn.Identity()), compiler), duda.Categorical())
    assert len(model.predict(X)) == len(X)
