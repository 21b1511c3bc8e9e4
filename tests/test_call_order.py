"""The layer that makes a network's outputs is found by its code, whatever was registered when."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from duda.call_order import call_order
from duda.sampling import last_linear
from tests.methods.networks import NETWORKS
from tests.training.models import same, values


class HeadFirst(nn.Module):
    """Registers its layers in another order than it calls them, and leaves traces of a pass."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 2)
        self.body = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
        self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer("passes", torch.zeros(()))
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        self.features = self.body(x.view(x.shape[0], -1))
        self.seen.append(self.features)
        h = self.features * self.scale
        for block in self.blocks:
            h = h + F.relu(block(h))
        first, second = h.chunk(2, dim=1)
        return self.head(F.dropout(torch.cat([first, second], 1), 0.5, self.training))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head, self.lstm = nn.Linear(4, 2), nn.LSTM(3, 4, batch_first=True)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        _, (state, _) = self.lstm(x)
        return {"logits": self.head(state[-1])}


class Asking(nn.Module):
    """Asks for the values of tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.body = nn.Linear(4, 2), nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x) if x.sum() > 0 else -self.body(x))


class Around(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.last, self.inner = nn.Linear(2, 2), inner

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.inner(x))


ENDS = {
    "head first": (HeadFirst, "head"),
    "recurrent": (Recurrent, "head"),
    "in a part": (lambda: nn.Sequential(nn.Flatten(), HeadFirst()), "1.head"),
    "a part that asks": (lambda: Around(Asking()), "last"),
    "asks": (Asking, None),
    "a softmax": (lambda: nn.Sequential(nn.Linear(3, 2), nn.Softmax(1)), "1"),
    "alone": (lambda: nn.Linear(3, 2), ""),
    "parametrized": (lambda: nn.Sequential(nn.ReLU(), weight_norm(nn.Linear(3, 2))), "1"),
    "tied": (lambda: nn.Sequential(*[nn.Linear(2, 2)] * 3), "0"),
}


@pytest.mark.parametrize("case", ENDS)
def test_the_module_that_makes_the_outputs(case: str) -> None:
    factory, expected = ENDS[case]
    order = call_order(factory())
    assert (None if order is None else order.last) == expected


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_as_others_write_them_end_in_their_heads(name: str) -> None:
    order = call_order(NETWORKS[name][0]())
    assert order is not None
    assert order.last in ("head", "classifier")


def test_modules_are_ordered_by_their_last_call() -> None:
    order = call_order(HeadFirst())
    assert order is not None
    assert order.names == ["blocks", "body.0", "body.1", "body", "blocks.0", "blocks.1", "head", ""]
    assert set(order.names) == {name for name, _ in HeadFirst().named_modules()}


def test_the_network_stays_as_it_was() -> None:
    network = HeadFirst().train()
    before, attributes = copy.deepcopy(values(network)), set(vars(network))
    network.head.register_forward_hook(lambda *_: pytest.fail("a layer has run"))
    assert call_order(network) is not None
    assert same(values(network), before)
    assert set(vars(network)) == attributes
    assert network.seen == []
    assert all(module.training for module in network.modules())


def test_without_an_answer_the_last_that_was_registered_is_taken() -> None:
    assert last_linear(HeadFirst())[0] == "head"
    assert last_linear(Asking())[0] == "body"
    assert last_linear(nn.Sequential(weight_norm(nn.Linear(3, 2)), nn.ReLU()))[0] == "0"
