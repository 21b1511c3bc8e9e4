"""Draws have the right law, whichever way the engine takes them."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import duda
from duda.graphs import NotCaptured
from duda.sampling import HiddenDropout, executors
from tests.sampling.networks import HIDING_PLACES, LENGTH, NEED_A_LOOP, SHARED_WRITES, WIDTH, Body

ALL = HIDING_PLACES | NEED_A_LOOP | SHARED_WRITES
SAMPLES = 2000
# Of some hundred standard normal deviations one is past this in 10^5 runs; seeds are fixed.
DEVIATIONS = 5.5


def network(name: str) -> tuple[nn.Module, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ALL[name](), torch.randn(4, LENGTH, WIDTH)


def draws_in_training_mode(net: nn.Module, x: Tensor) -> Tensor:
    """Return draws the plain way: these networks know no other difference between the modes."""
    reference = copy.deepcopy(net).train()
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        return torch.stack([reference(x.clone()) for _ in range(SAMPLES)])


def assert_same_law(draws: Tensor, expected: Tensor) -> None:
    """Compare means and variances within their Monte-Carlo errors."""
    draws, expected = draws.double(), expected.double()
    n = len(draws)
    error = ((draws.var(0) + expected.var(0)) / n).sqrt()
    assert ((draws.mean(0) - expected.mean(0)).abs() <= DEVIATIONS * error + 1e-9).all()

    def variance_and_error(sample: Tensor) -> tuple[Tensor, Tensor]:
        squares = (sample - sample.mean(0)) ** 2
        return squares.mean(0), squares.var(0) / n

    (one, one_error), (other, other_error) = map(variance_and_error, (draws, expected))
    assert ((one - other).abs() <= DEVIATIONS * (one_error + other_error).sqrt() + 1e-9).all()
    assert (one > 0).all()


@pytest.mark.parametrize("name", ALL)
def test_draws_have_the_law_of_training_mode(name: str) -> None:
    net, x = network(name)
    answer = duda.MCDropout(net, duda.FixedGaussian(), samples=SAMPLES).predict(
        x, seed=0, keep_draws=True
    )
    means = answer.draws[:, :, :3]
    assert_same_law(means, draws_in_training_mode(net, x))


@pytest.mark.parametrize("name", HIDING_PLACES)
def test_vmap_and_loop_agree(name: str) -> None:
    net, x = network(name)
    net.eval()
    ways = []
    for vmapped, step in ((True, 10), (True, 4), (False, 1)):
        with torch.no_grad():
            runner = executors._Runner(net, x, HiddenDropout, 2, vmapped=vmapped)
            try:
                ways.append(torch.cat([runner.run(start, step) for start in range(0, 20, step)]))
            except executors.NeedsLoop:
                pytest.skip("only a loop gets this right")
    for way in ways[1:]:
        torch.testing.assert_close(way, ways[0])


@pytest.mark.parametrize("name", HIDING_PLACES)
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_hidden_dropout_shows_variance_in_any_context(name: str, context: type) -> None:
    net, x = network(name)
    with context():
        inputs = x.clone()
        answer = duda.MCDropout(net, duda.FixedGaussian(), samples=20).predict(inputs, seed=0)
    assert (answer.epistemic > 0).all()
    assert not answer.mean.requires_grad


@pytest.mark.parametrize("name", NEED_A_LOOP)
def test_the_fallback_says_so_once(name: str, caplog: pytest.LogCaptureFixture) -> None:
    net, x = network(name)
    model = duda.MCDropout(net, duda.FixedGaussian(), samples=3)
    with caplog.at_level(logging.WARNING):
        model.predict(x, seed=0)
        model.predict(x, seed=0)
    assert len(caplog.records) == 1
    assert "Body runs its draws one by one" in caplog.text


class ByValue(nn.Module):
    """Does what no graph can hold: it follows from the values of a draw."""

    def __init__(self, follow: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.follow = nn.Linear(4, 3), follow

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.dropout(x, 0.5)
        return self.layer(x) + self.follow(x)


@pytest.mark.parametrize(
    ("follow", "offered"),
    [
        (lambda x: 1 if x.sum() > 0 else 0, False),
        (lambda x: len((x > 0).nonzero()), False),
        (lambda x: x.detach().numpy().sum().item(), False),
        (lambda x: x[x > 0].sum(), True),
    ],
)
def test_the_fallback_offers_what_may_help(
    follow: Callable[[Tensor], Tensor], offered: bool, caplog: pytest.LogCaptureFixture
) -> None:
    model = duda.MCDropout(ByValue(follow).eval(), duda.FixedGaussian(), samples=3)
    with caplog.at_level(logging.WARNING):
        model.predict(torch.rand(6, 4), seed=0)
    assert "ByValue runs its draws one by one, because vmap cannot" in caplog.text
    assert ("try `prepare(x)`" in caplog.text) == offered


@pytest.mark.parametrize("follow", [lambda x: len(x[x > 0]), lambda x: torch.unique(x).sum()])
def test_a_graph_whose_shapes_follow_from_draws_is_refused(
    follow: Callable[[Tensor], Tensor],
) -> None:
    model = duda.MCDropout(ByValue(follow).eval(), duda.FixedGaussian(), samples=3)
    with pytest.raises(NotCaptured, match=r"depends on the values of a draw|data-dependent"):
        model.prepare(torch.rand(6, 4))


@pytest.mark.parametrize("name", ALL)
def test_a_seed_means_the_same_draws(name: str) -> None:
    net, x = network(name)
    model = duda.MCDropout(net, duda.FixedGaussian(), samples=30)
    one, two, other = (model.predict(x, seed=seed, chunk=7) for seed in (0, 0, 1))
    assert torch.equal(one.mean, two.mean)
    assert torch.equal(one.epistemic, two.epistemic)
    assert not torch.equal(one.mean, other.mean)


def test_without_a_seed_the_global_generator_decides() -> None:
    net, x = network("F.dropout")
    model = duda.MCDropout(net, duda.FixedGaussian(), samples=5)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        one, next_one = model.predict(x), model.predict(x)
        torch.manual_seed(7)
        two = model.predict(x)
    assert torch.equal(one.mean, two.mean)
    assert not torch.equal(one.mean, next_one.mean)


def test_control_flow_that_differs_between_draws_uses_the_right_shared_value() -> None:
    class Choice(nn.Module):
        """Runs one shared layer on one of two shared inputs, as a random number says."""

        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            one, two = x + 1, x - 1
            return self.layer(one if torch.rand(()) < 0.5 else two)

    net, x = Choice(), torch.zeros(1, 2)
    model = duda.MCDropout(net, duda.FixedGaussian(), samples=40)
    draws = model.predict(x, seed=0, keep_draws=True).draws[:, 0, :2]
    with torch.no_grad():
        possible = torch.stack([net.layer(x + 1)[0], net.layer(x - 1)[0]])
    distance = torch.cdist(draws, possible)
    assert (distance.amin(1) < 1e-6).all()
    assert set(distance.argmin(1).tolist()) == {0, 1}


def test_nothing_random_is_an_error_that_says_how_to_mend_it() -> None:
    model = duda.MCDropout(nn.Linear(2, 3), duda.Categorical())
    with pytest.raises(ValueError, match=r"nothing is random in this Linear.*nn\.Dropout"):
        model.predict(torch.zeros(4, 2))


# Dropout of all kinds, by p.
WITH_P: dict[str, Callable[[float], nn.Module]] = {
    "Dropout": nn.Dropout,
    "Dropout1d": nn.Dropout1d,
    "AlphaDropout": nn.AlphaDropout,
    "attention": lambda p: nn.TransformerEncoderLayer(WIDTH, 2, 8, p, batch_first=True),
    "recurrent": lambda p: Body(nn.LSTM(WIDTH, WIDTH, 2, dropout=p, batch_first=True)),
    "function": lambda p: Body(lambda m, h: F.dropout(h, p, m.training)),
    "scaled dot product": lambda p: Body(
        lambda m, h: F.scaled_dot_product_attention(h, h, h, dropout_p=p)
    ),
}


@pytest.mark.parametrize("name", WITH_P)
def test_dropout_with_p_zero_is_not_random(name: str) -> None:
    model = duda.MCDropout(WITH_P[name](0.0), duda.FixedGaussian(), samples=4)
    with pytest.raises(ValueError, match=r"nothing is random in this .* with p above 0"):
        model.predict(torch.randn(5, LENGTH, WIDTH))


@pytest.mark.parametrize("chunk", [None, 2])
@pytest.mark.parametrize("p", [1.0, 2.0**-18])
@pytest.mark.parametrize("name", WITH_P)
def test_masks_that_are_the_same_in_all_draws_keep_their_axis(
    name: str, p: float, chunk: int | None
) -> None:
    model = duda.MCDropout(WITH_P[name](p), duda.FixedGaussian(), samples=5)
    answer = model.predict(torch.randn(3, LENGTH, WIDTH), keep_draws=True, chunk=chunk)
    assert answer.draws.shape[:2] == (5, 3)
    torch.testing.assert_close(answer.draws, answer.draws[:1].expand_as(answer.draws))


def test_the_networks_own_error_comes_through() -> None:
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 2))
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        duda.MCDropout(net, duda.Categorical()).predict(torch.zeros(4, 2))


def test_outputs_that_are_no_tensor_are_a_clear_error() -> None:
    net = nn.LSTM(4, 4, 2, dropout=0.5)
    with pytest.raises(TypeError, match="returned a tuple, expected one tensor"):
        duda.MCDropout(net, duda.Categorical()).predict(torch.zeros(4, 3, 4))
