"""A prediction makes hardly more calls of torch than the same by hand, from the same numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import duda
from benchmarks.calls import calls_of
from duda.likelihoods import Likelihood
from tests import by_hand

DRAWS, ROWS, SEED = 50, 32, 3
MOST = 1.5
# vmap takes a linear layer apart, and the network, which may write to it, gets a copy of its input.
MOST_UNPREPARED = 1.6
# Buffers are copied and put back once a prediction, by calls that do not grow with its batches.
GUARDS = 20
X = torch.rand(8 * ROWS, 1, 8, 8, generator=torch.Generator().manual_seed(0))
KINDS = ["classes", "numbers"]
LIKELIHOODS: dict[str, Likelihood] = {"classes": duda.Categorical(), "numbers": duda.Gaussian()}


def network(outputs: int, normalized: bool = False) -> nn.Sequential:
    between = nn.BatchNorm2d(8) if normalized else nn.Identity()
    trunk = [nn.Conv2d(1, 8, 3, padding=1), between, nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*trunk, nn.Dropout(0.5), nn.Linear(8 * 64, outputs)).eval()


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 6))


def asked(kind: str, answer: duda.Prediction) -> tuple[Tensor, ...]:
    """Return what a prediction holds, and its entropy, which is computed when it is asked for."""
    if kind == "classes":
        return answer.probs, answer.entropy, answer.aleatoric, answer.votes
    return answer.mean, answer.aleatoric, answer.epistemic


def ratio(kind: str, model: duda.UncertainModel, hand: Callable[[Tensor], Tensor], x: Tensor):
    """Return how many calls a prediction makes for one by hand, and that both say the same."""

    def prediction() -> tuple[Tensor, ...]:
        return asked(kind, model.predict(x, seed=SEED, batch_size=ROWS))

    def the_same() -> tuple[Tensor, ...]:
        parts = [getattr(by_hand, kind)(hand(rows)) for rows in x.split(ROWS)]
        return parts[0] if len(parts) == 1 else tuple(map(torch.cat, zip(*parts, strict=True)))

    with torch.no_grad():
        for found, expected in zip(prediction(), the_same(), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        return calls_of(prediction) / calls_of(the_same)


@pytest.mark.parametrize("batches", [1, 8])
@pytest.mark.parametrize("prepared", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_dropout(kind: str, prepared: bool, batches: int) -> None:
    x, net = X[: batches * ROWS], network(6)
    model = duda.MCDropout(net, LIKELIHOODS[kind], samples=DRAWS)
    if prepared:
        model.prepare(x)
    found = ratio(kind, model, lambda x: by_hand.dropped(net[:4], net[5], x, DRAWS, SEED), x)
    assert found <= (MOST if prepared or batches > 1 else MOST_UNPREPARED)


@pytest.mark.parametrize("kind", KINDS)
def test_members(kind: str) -> None:
    model = duda.DeepEnsemble(mlp, LIKELIHOODS[kind], members=5).eval()
    found = ratio(kind, model, lambda x: by_hand.members([*model.members], x), X[:ROWS])
    assert found <= MOST


def test_buffers_cost_calls_once_a_prediction() -> None:
    plain, normalized = (
        duda.MCDropout(network(6, each), duda.Categorical(), samples=2) for each in (False, True)
    )
    for batches in (1, 8):
        x = X[: batches * ROWS]
        without, found = (
            calls_of(lambda each=each: each.predict(x, seed=0, batch_size=ROWS))  # noqa: B023
            for each in (plain, normalized)
        )
        assert found - without <= GUARDS + 2 * batches
