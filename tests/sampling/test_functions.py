"""A draw is a function: it depends on seed and number, not on chunk, executor, order or batch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from duda.sampling import DrawnWeights, HiddenDropout, Randomness, random_draws
from tests.sampling.networks import (
    HIDING_PLACES,
    LENGTH,
    NEED_A_LOOP,
    SHARED_WRITES,
    WIDTH,
    Body,
)

ROWS, DRAWS = 6, 9


def hidden_noise(module: nn.Module, h: Tensor) -> Tensor:
    """Take numbers from a function that no stream knows of."""
    return h + h.new_empty(h.shape).exponential_()


def gated(module: nn.Module, h: Tensor) -> Tensor:
    return h * F.gumbel_softmax(h, hard=True)


# Random numbers of a network's own; dropout hides in tests/sampling/networks.py.
NOISE: dict[str, Callable[[], nn.Module]] = {
    "randn": lambda: Body(lambda m, h: h + torch.randn(h.shape)),
    "rand": lambda: Body(lambda m, h: h * torch.rand(len(h), 1, 1)),
    "stochastic depth": lambda: Body(
        lambda m, h: h + h.relu() * h.new_empty(len(h), 1, 1).bernoulli_(0.5) / 0.5
    ),
    "randint": lambda: Body(lambda m, h: h * torch.randint(2, h.shape)),
    "noise to start from": lambda: Body(lambda m, h: torch.empty_like(h).normal_().add_(h)),
    "multinomial": lambda: Body(lambda m, h: h + torch.multinomial(torch.ones(9999), 1) / 9999),
    "exponential": lambda: Body(hidden_noise),
    "gumbel softmax": lambda: Body(gated),
}
ALL = HIDING_PLACES | NEED_A_LOOP | SHARED_WRITES | NOISE


def network(name: str) -> tuple[nn.Module, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ALL[name]().eval(), torch.randn(ROWS, LENGTH, WIDTH)


def draws(
    net: nn.Module,
    x: Tensor,
    chunk: int | None = None,
    randomness: Callable[[], Randomness] = HiddenDropout,
    *,
    seed: int = 0,
    **options: bool,
) -> Tensor:
    with torch.no_grad():
        return torch.cat(list(random_draws(net, x, DRAWS, chunk, randomness, seed=seed, **options)))


@pytest.mark.parametrize("name", ALL)
def test_neither_chunk_nor_executor_nor_the_past_matter(name: str) -> None:
    net, x = network(name)
    before = torch.get_rng_state()
    expected = draws(net, x)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)  # which moves torch's global generator
    for chunk in (1, 2, 7):
        torch.testing.assert_close(draws(net, x, chunk), expected)
    torch.testing.assert_close(draws(net, x, vmapped=False), expected)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        assert torch.equal(draws(net, x), expected)
    other = draws(net, x, seed=1)
    assert not torch.isclose(other, expected).flatten(1).all(1).any()


@pytest.mark.parametrize("name", [*HIDING_PLACES, *SHARED_WRITES, "randn"])
def test_draws_differ_from_one_another(name: str) -> None:
    net, x = network(name)
    found = draws(net, x)
    assert all((one != other).any() for i, one in enumerate(found) for other in found[:i])


# On whose first dimension examples stand, one by one, in all random calls.
EXAMPLES_FIRST = sorted(
    HIDING_PLACES.keys() - {"LSTM", "GRU"} | {"randn", "stochastic depth", "noise of its own"}
)


@pytest.mark.parametrize("name", EXAMPLES_FIRST)
def test_numbers_of_an_example_depend_on_its_place_alone(name: str) -> None:
    net, x = network(name)
    expected = draws(net, x)
    changed = x[:3].clone()
    changed[1] += 1  # and not on what is beside it
    found = draws(net, changed)
    torch.testing.assert_close(found[:, [0, 2]], expected[:, [0, 2]])
    assert not torch.isclose(found[:, 1], expected[:, 1]).any(1).all()


def test_masks_are_exactly_the_same_in_any_chunk() -> None:
    net, x = nn.Dropout(0.3), torch.ones(5, 40)
    expected = draws(net, x)
    for chunk in (1, 4, 7, None):
        assert torch.equal(draws(net, x, chunk), expected)
    assert torch.equal(draws(net, x, vmapped=False), expected)


@pytest.mark.parametrize("vmapped", [True, False])
def test_drawn_weights_are_the_same_in_any_chunk_and_batch(vmapped: bool) -> None:
    net, x = network("F.dropout")

    def weights() -> Randomness:
        return DrawnWeights(
            net, lambda _: {"last.weight": F.dropout(net.last.weight + torch.randn(3, WIDTH), 0.3)}
        )

    expected = draws(net, x, None, weights)
    for chunk in (1, 4):
        torch.testing.assert_close(draws(net, x, chunk, weights, vmapped=vmapped), expected)
    torch.testing.assert_close(draws(net, x[4:], None, weights), expected[:, 4:])


def test_a_failure_of_vmap_on_the_way_changes_no_draw() -> None:
    net, x = network("F.dropout")
    expected = draws(net, x)

    class Late(nn.Module):
        """Asks for a value, which vmap cannot give, in all passes but the first."""

        passes = 0

        def forward(self, x: Tensor) -> Tensor:
            out = net(x)
            self.passes += 1
            return out if self.passes == 1 else out + 0 * float(out.sum())

    torch.testing.assert_close(draws(Late(), x, chunk=4), expected)
