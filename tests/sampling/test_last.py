"""The last linear layer gives its place to another, in a copy."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from duda.sampling import last_linear, watched_inputs, with_last_linear


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleDict({"head": nn.Linear(4, 3), "act": nn.Tanh()})

    def forward(self, x):
        return self.body["act"](self.body["head"](x))


@pytest.mark.parametrize("network", [nn.Linear(4, 3), nn.Sequential(nn.Linear(4, 3)), Wrapped()])
def test_the_network_itself_stays_as_it_is(network: nn.Module) -> None:
    x = torch.randn(2, 4)
    before = network(x)
    changed = with_last_linear(network, lambda last: nn.Linear(last.in_features, 7)).double()
    assert changed(x.double()).shape == (2, 7)
    assert torch.equal(network(x), before)
    assert last_linear(network)[1].out_features == 3


def test_the_new_layer_has_the_old_ones_dtype() -> None:
    network = nn.Sequential(nn.ReLU(), nn.Linear(4, 3)).double()
    made = with_last_linear(network, lambda last: nn.Linear(4, 5))
    assert {weight.dtype for weight in made.parameters()} == {torch.float64}


def test_a_network_without_a_linear_layer_is_told() -> None:
    with pytest.raises(ValueError, match="a Conv1d, has no"):
        with_last_linear(nn.Conv1d(2, 2, 1), lambda last: nn.Identity())


def test_inputs_are_watched_only_inside() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    x = torch.randn(4, 2)
    with watched_inputs([network[2], network[0]]) as calls:
        network(x)
    network(x)
    assert [layer for layer, _ in calls] == [network[0], network[2]]
    assert torch.equal(calls[0][1], x)
    torch.testing.assert_close(calls[1][1], network[0](x).relu())
