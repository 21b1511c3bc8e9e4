"""Draws as rows of one batch, where nearly all of a network differs by draw and rows are apart."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import duda
from duda.sampling import folding
from duda.sampling.folding import Folding

DRAWS = 7


class Everywhere(nn.Module):
    """A network with dropout at its start, and settings that change what it does."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)
        self.p, self.mixes, self.stores, self.noise = 0.5, False, False, False

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(F.dropout(x, self.p))
        h = F.dropout(h.relu(), self.p)
        if self.mixes:
            h = h - h.mean(0)
        if self.noise:
            h = h + torch.randn(8)
        if self.stores:
            self.hidden = h
        return self.last(h)


@pytest.fixture
def folded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many draws each pass had that was folded."""
    found: list[int] = []
    call = Folding.__call__

    def noted(self: Folding, keys: Tensor) -> Tensor:
        found.append(len(keys))
        return call(self, keys)

    monkeypatch.setattr(Folding, "__call__", noted)
    return found


def unfolded(network: nn.Module, x: Tensor, **arguments: Any) -> Tensor:
    """Return what a new model predicts at first, which is never folded."""
    model = duda.MCDropout(copy.deepcopy(network), duda.Categorical(), samples=DRAWS)
    return model.predict(x, seed=0, keep_draws=True, **arguments).draws


def predicted(network: nn.Module, x: Tensor, **arguments: Any) -> Tensor:
    model = duda.MCDropout(network, duda.Categorical(), samples=DRAWS)
    return model.predict(x, seed=0, keep_draws=True, **arguments).draws


NETWORKS: dict[str, Callable[[], tuple[nn.Module, tuple[int, ...]]]] = {
    "own": lambda: (Everywhere(), (6,)),
    "encoder": lambda: (
        nn.Sequential(
            nn.TransformerEncoderLayer(6, 2, 8, batch_first=True), nn.Flatten(), nn.Linear(30, 3)
        ),
        (5, 6),
    ),
    "channels": lambda: (
        nn.Sequential(nn.Dropout2d(), nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(27, 3)),
        (2, 5, 5),
    ),
}


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("name", NETWORKS)
def test_draws_are_those_of_vmap(name: str, rows: int, folded: list[int]) -> None:
    torch.manual_seed(0)
    network, shape = NETWORKS[name]()
    x = torch.randn(rows, *shape)
    expected = predicted(network, x)
    assert folded == [2]  # by which it is found out
    for chunk in (None, 3):
        folded.clear()
        torch.testing.assert_close(predicted(network, x, chunk=chunk), expected)
        assert folded == ([DRAWS] if chunk is None else [3, 3, 1])


def test_other_rows_have_the_numbers_of_their_place(folded: list[int]) -> None:
    network, x = Everywhere(), torch.randn(9, 6)
    expected = predicted(network, x)
    torch.testing.assert_close(predicted(network, x), expected)
    torch.testing.assert_close(predicted(network, x[:4]), expected[:, :4])
    assert folded == [2, DRAWS, DRAWS]


CHANGES: dict[str, Callable[[Everywhere], object]] = {
    "rows are mixed": lambda net: setattr(net, "mixes", True),
    "activations are stored": lambda net: setattr(net, "stores", True),
    "numbers are not those of rows": lambda net: setattr(net, "noise", True),
    "a hook mixes rows": lambda net: net.last.register_forward_hook(lambda *a: a[2] - a[2].mean(0)),
    "a layer mixes rows": lambda net: setattr(
        net, "last", nn.Sequential(nn.BatchNorm1d(8, track_running_stats=False), net.last)
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_network_that_is_another_now_is_looked_at_anew(change: str, folded: list[int]) -> None:
    network, x = Everywhere(), torch.randn(4, 6)
    for _ in range(2):
        predicted(network, x)
    assert folded == [2, DRAWS]
    CHANGES[change](network)
    expected = unfolded(network, x)
    folded.clear()
    for _ in range(2):
        torch.testing.assert_close(predicted(network, x), expected)
    assert DRAWS not in folded


def test_weights_and_probabilities_of_now_count(folded: list[int]) -> None:
    network, x = Everywhere(), torch.randn(4, 6)
    for _ in range(2):
        predicted(network, x)
    with torch.no_grad():
        network.first.weight.mul_(2)
    torch.testing.assert_close(predicted(network, x), unfolded(network, x))
    network.p = 0.2
    torch.testing.assert_close(predicted(network, x), unfolded(network, x))
    network.p = 0.0
    with pytest.raises(ValueError, match="nothing is random"):
        predicted(network, x)


def test_what_draws_share_stays_apart_where_it_is_much(folded: list[int]) -> None:
    network = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 3))
    for _ in range(2):
        predicted(network, torch.randn(4, 6))
    assert folded == []
    assert network not in folding._found


def test_joint_draws_are_not_folded(folded: list[int]) -> None:
    network, x = Everywhere(), torch.randn(4, 6)
    for _ in range(2):
        draws = predicted(network, x, joint=True)
    assert folded == []
    torch.testing.assert_close(draws, unfolded(network, x, joint=True))
