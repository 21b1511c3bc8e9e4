"""A network that stores activations can be copied and saved after a prediction."""

from __future__ import annotations

import copy
import io
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import duda
from duda.activations import plain_activations, stored_tensors


class Pair(NamedTuple):
    left: Tensor
    right: Tensor


@dataclass
class Record:
    features: Tensor


def appended(module: nn.Module, h: Tensor) -> list[Tensor]:
    kept = getattr(module, "stored", [])
    kept.append(h)
    return kept


class State:
    def __init__(self, h: Tensor) -> None:
        self.h = {"last": [h]}


STORES: dict[str, Callable[[nn.Module, Tensor], Any]] = {
    "tensor": lambda _, h: h,
    "list": appended,
    "dict": lambda _, h: {"layer": {"h": h}},
    "tuple": lambda _, h: (h, 3),
    "names": lambda _, h: Pair(h, h),
    "record": lambda _, h: Record(h),
    "object": lambda _, h: State(h),
    "deque": lambda _, h: deque([h], maxlen=2),
    "distribution": lambda _, h: torch.distributions.Normal(h, 1.0),
}

METHODS: dict[str, Callable[[nn.Module], duda.UncertainModel]] = {
    "deterministic": lambda net: duda.Deterministic(net, duda.Categorical()),
    "mc-dropout": lambda net: duda.MCDropout(net, duda.Categorical()),
    "dropconnect": lambda net: duda.MCDropConnect(net, duda.Categorical()),
    "variational": lambda net: duda.Variational(net, duda.Categorical(), examples=9),
    "gradients": lambda net: duda.GradientConfidence(net, duda.Categorical()),
    "augmented": lambda net: duda.TestTimeAugmentation(duda.MCDropout(net, duda.Categorical())),
    "sde": lambda net: duda.SDENet(net, duda.Categorical()),
}


class Storing(nn.Module):
    """Stores what comes before its dropout and what comes after."""

    def __init__(self, store: Callable[[nn.Module, Tensor], Any]) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(3, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        self.dropout = nn.Dropout(0.5)
        self.store = [store]
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.before = self.first(x)
        h = self.dropout(self.second(self.before).relu())
        self.stored = self.store[0](self, h)
        return self.last(h)


def check_plain(network: nn.Module) -> None:
    network.store = []  # functions cannot be saved
    copied = copy.deepcopy(network)
    torch.save(network.stored, io.BytesIO())
    for tensor in (*stored_tensors(copied), *stored_tensors(network)):
        assert tensor.device.type == "cpu"
        assert bool(tensor.isfinite().all())
        assert tensor.shape[1:] == (6,)
        assert not tensor.requires_grad


@pytest.mark.parametrize("store", STORES.values(), ids=STORES)
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_can_be_copied_after_a_prediction(
    method: Callable[[nn.Module], duda.UncertainModel],
    store: Callable[[nn.Module, Tensor], Any],
) -> None:
    model, x = method(Storing(store)), torch.randn(9, 3)
    model.predict(x, batch_size=4)
    copy.deepcopy(model)
    for part in model.modules():
        if isinstance(part, Storing):
            check_plain(part)


@pytest.mark.parametrize("chunk", [1, 3, None])
def test_what_is_stored_before_the_first_random_call_is_that_of_a_plain_pass(
    chunk: int | None,
) -> None:
    network, x = Storing(STORES["tensor"]), torch.randn(9, 3)
    duda.MCDropout(network, duda.Categorical()).predict(x, chunk=chunk)
    torch.testing.assert_close(network.before, network.first(x).detach())
    assert network.stored.shape == (9, 6)
    whole = 2 * network.second(network.before).relu().detach()
    torch.testing.assert_close(network.stored, whole.where(network.stored != 0, 0))


def test_after_an_exception_too() -> None:
    class Failing(Storing):
        def forward(self, x: Tensor) -> Tensor:
            super().forward(x)
            raise RuntimeError("half-way")

    network = Failing(STORES["dict"])
    with pytest.raises(RuntimeError, match="half-way"):
        duda.MCDropout(network, duda.Categorical()).predict(torch.randn(9, 3))
    check_plain(network)


def test_what_was_stored_before_keeps_its_graph() -> None:
    """A loss may still be computed from it."""
    network = nn.Linear(2, 2)
    network.old = network(torch.ones(1, 2))
    old = network.old
    with plain_activations(network):
        network.new = network(torch.ones(1, 2))
    assert network.old is old
    assert old.requires_grad
    assert not network.new.requires_grad


def test_lists_that_hold_themselves_end() -> None:
    network = nn.Linear(2, 2)
    network.kept = [torch.ones(2)]
    network.kept.append(network.kept)
    assert len(stored_tensors(network)) == 1
