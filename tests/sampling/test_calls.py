"""Calls of torch that a prepared prediction makes, beside those of the same work by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import duda
from benchmarks.calls import Calls
from duda.sampling import HiddenDropout, random_draws

DRAWS = 50
X = torch.rand(128, 1, 8, 8, generator=torch.Generator().manual_seed(0))
# What makes another view of a tensor, and computes nothing.
VIEWS = {"alias", "detach", "expand", "lift_fresh", "select", "slice", "split_with_sizes", "t"}
VIEWS |= {"transpose", "unsqueeze", "view", "_unsafe_view", "promote_types", "empty", "empty_like"}
HASH = {"bitwise_xor", "bitwise_or", "__rshift__", "add_", "mul_"}


def computing(names: list[str]) -> list[str]:
    """Return the calls that are no views."""
    return [name for name in names if name not in VIEWS]


@pytest.fixture(scope="module")
def network() -> nn.Sequential:
    trunk = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()]
    found = nn.Sequential(*trunk, nn.Dropout(0.5), nn.Linear(8 * 64, 10)).eval()
    duda.MCDropout(found, duda.Categorical()).prepare(X)
    return found


def calls_of(work: Callable[[], Any]) -> list[str]:
    work()
    with torch.no_grad(), Calls() as calls:
        work()
    return calls.names


def draws_by_hand(network: nn.Sequential) -> Tensor:
    """Return draws that share the trunk, of which no seed tells what they are."""
    features = network[:4](X)
    return network[5](F.dropout(features.expand(DRAWS, *features.shape), 0.5))


def by_hand(network: nn.Sequential) -> tuple[Tensor, ...]:
    """Return what a prediction says of classes, without a check of anything."""
    log_probs = draws_by_hand(network).log_softmax(2)
    probs = log_probs.exp()
    mean = probs.mean(0)
    aleatoric = -(probs * log_probs).sum(2).mean(0)
    votes = F.one_hot(probs.argmax(2), 10).sum(0)
    return mean, -(mean * mean.log()).sum(1), aleatoric, votes


def test_draws_of_a_graph_call_little_but_the_hash_of_their_numbers(
    network: nn.Sequential,
) -> None:
    hand = calls_of(lambda: draws_by_hand(network))
    found = calls_of(lambda: list(random_draws(network, X, DRAWS, DRAWS, HiddenDropout, seed=0)))
    others = [name for name in computing(found) if name not in HASH]
    assert len(computing(found)) - len(others) == 7  # on the numbers of all draws at once
    assert len(others) <= 1.5 * len(computing(hand))


@pytest.mark.parametrize("draws", [2, DRAWS, 500])
def test_calls_do_not_grow_with_the_draws(network: nn.Sequential, draws: int) -> None:
    found = calls_of(lambda: list(random_draws(network, X, draws, draws, HiddenDropout, seed=0)))
    assert len(computing(found)) <= 16


def test_a_prepared_prediction_makes_few_calls(network: nn.Sequential) -> None:
    model = duda.MCDropout(network, duda.Categorical(), samples=DRAWS)
    hand = calls_of(lambda: by_hand(network))
    found = calls_of(lambda: model.predict(X, seed=0, chunk=DRAWS))
    assert len(found) <= 4 * len(hand)
    assert len(computing(found)) <= 3.5 * len(computing(hand))
