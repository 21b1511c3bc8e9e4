"""What changes after a capture: it counts, or the graph is left aside, but no draw is wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import duda
from duda.batches import Batch
from tests.sampling.networks import WIDTH

X = torch.randn(6, WIDTH, generator=torch.Generator().manual_seed(0))


class Config:
    def __init__(self) -> None:
        self.scale = 2.0


class Holder(nn.Module):
    """Holds all that a network may hold, and uses it after its dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(WIDTH, 8), nn.Linear(8, 3)
        self.dropout, self.norm = nn.Dropout(0.5), nn.BatchNorm1d(8)
        self.register_buffer("mask", torch.rand(8), persistent=False)
        self.shift = torch.rand(8)
        self.listed, self.named = [torch.rand(8)], {"a": torch.rand(8)}
        self.unregistered = [nn.Linear(8, 8)]
        self.config, self.factor = Config(), 3.0
        self.activation: Callable[[Tensor], Tensor] = F.relu

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.activation(self.dropout(self.first(x)))) * self.mask + self.shift
        h = h + self.listed[0] * self.named["a"] + self.unregistered[0](h)
        return self.last(h * self.factor * self.config.scale)


def in_place(change: Callable[[Holder], Tensor]) -> Callable[[Holder], None]:
    def changed(network: Holder) -> None:
        with torch.no_grad():
            change(network).mul_(2).add_(1)

    return changed


def other_list(network: Holder) -> None:
    network.listed[0] = torch.ones(8)


def other_name(network: Holder) -> None:
    network.named["a"] = torch.ones(8)


def other_setting(network: Holder) -> None:
    network.config.scale = 5.0


def other_hook(network: Holder) -> None:
    network.last.register_forward_pre_hook(lambda module, args: (args[0] * 2,))


def wider(network: Holder) -> None:
    network.first, network.norm = nn.Linear(WIDTH, 8), nn.BatchNorm1d(8)
    network.last.weight = nn.Parameter(torch.randn(4, 8))
    network.last.bias = nn.Parameter(torch.randn(4))


CHANGES: dict[str, Callable[[Holder], Any]] = {
    "a weight": in_place(lambda network: network.last.weight),
    "a buffer": in_place(lambda network: network.mask),
    "a statistic": in_place(lambda network: network.norm.running_mean),
    "a tensor": in_place(lambda network: network.shift),
    "a tensor in a list": in_place(lambda network: network.listed[0]),
    "a tensor in a dict": in_place(lambda network: network.named["a"]),
    "a weight nobody registered": in_place(lambda network: network.unregistered[0].weight),
    "another tensor": lambda network: setattr(network, "shift", torch.ones(8)),
    "another shape": lambda network: setattr(network, "shift", torch.ones(1)),
    "another in a list": other_list,
    "another in a dict": other_name,
    "a number": lambda network: setattr(network, "factor", 4.0),
    "a function": lambda network: setattr(network, "activation", torch.tanh),
    "a setting": other_setting,
    "a probability": lambda network: setattr(network.dropout, "p", 0.2),
    "a hook": other_hook,
    "another width": wider,
    "double precision": lambda network: network.double() and None,
}


def draws(network: nn.Module, x: Batch = X) -> Tensor:
    model = duda.MCDropout(network, duda.Categorical(), samples=4)
    return model.predict(x, seed=0, keep_draws=True).draws


@pytest.mark.parametrize("change", CHANGES)
def test_no_draw_is_of_the_network_before(change: str) -> None:
    network = Holder().eval()
    duda.MCDropout(network, duda.Categorical()).prepare(X)
    CHANGES[change](network)
    x = X.double() if change == "double precision" else X
    if change == "double precision":
        network.shift = network.shift.double()
        network.listed[0], network.named["a"] = network.listed[0].double(), torch.ones(8).double()
        network.unregistered[0].double()
    torch.testing.assert_close(draws(network, x), draws(copy.deepcopy(network), x))


def test_draws_under_autocast_are_of_a_network_under_autocast(runs: list[str]) -> None:
    plain, cast = Holder().eval(), torch.autocast("cpu", torch.bfloat16)
    other = copy.deepcopy(plain)
    with cast:
        expected = draws(copy.deepcopy(plain))
        duda.MCDropout(plain, duda.Categorical()).prepare(X)
        runs.clear()
        torch.testing.assert_close(draws(plain), expected)
        assert set(runs) == {"CapturedRunner"}
    torch.testing.assert_close(draws(plain), draws(other))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_captured(dtype: torch.dtype, runs: list[str]) -> None:
    network = nn.Sequential(nn.Linear(WIDTH, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    network = network.to(dtype)
    expected = draws(network, X.to(dtype))
    duda.MCDropout(network, duda.Categorical()).prepare(X.to(dtype))
    runs.clear()
    found = draws(network, X.to(dtype))
    assert set(runs) == {"CapturedRunner"}
    torch.testing.assert_close(found, expected, rtol=0, atol=4 * torch.finfo(dtype).eps)


def test_positions_and_named_inputs_are_captured(runs: list[str]) -> None:
    class Pixels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.last = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 3, 1)

        def forward(self, picture: Tensor, scale: Tensor) -> Tensor:
            return self.last(F.dropout2d(self.layer(picture), 0.5)) * scale

    x: Batch = {"picture": torch.randn(5, 2, 6, 6), "scale": torch.rand(5, 1, 1, 1)}
    network = Pixels()
    expected = draws(network, x)
    assert expected.shape == (4, 5, 3, 6, 6)
    duda.MCDropout(network, duda.Categorical()).prepare(x)
    runs.clear()
    torch.testing.assert_close(draws(network, x), expected)
    swapped = dict(reversed(list(x.items())))
    torch.testing.assert_close(draws(network, swapped), expected)
    assert "CapturedRunner" in runs


def test_several_inputs_by_place_are_captured(runs: list[str]) -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(WIDTH, 3)

        def forward(self, one: Tensor, other: Tensor) -> Tensor:
            return self.last(F.dropout(one, 0.5) + other)

    network, x = Sum(), (X, 2 * X)
    model = duda.MCDropout(network, duda.Categorical(), samples=4)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*x), 3)
    options: dict[str, Any] = {
        "seed": 0,
        "keep_draws": True,
        "inputs": lambda item: (item, {}, None),
    }
    expected = model.predict(data, **options).draws
    model.prepare(data, inputs=options["inputs"])
    runs.clear()
    torch.testing.assert_close(model.predict(data, **options).draws, expected)
    assert set(runs) == {"CapturedRunner"}
