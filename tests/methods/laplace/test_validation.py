"""Validation chooses the prior precision of Laplace, and the noise, by what will be predicted."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal

import duda
from duda.hooks import FitState
from duda.methods.laplace.validation import least_loss

CASES = {
    "kron": (duda.Categorical(), {}),
    "full": (duda.Categorical(), {"structure": "full"}),
    "closed form": (duda.Categorical(), {"approximation": "closed-form"}),
    "ignored": (duda.Categorical(ignore_index=2), {}),
    "gaussian": (duda.Gaussian(), {}),
    "noise": (duda.FixedGaussian(), {}),
    "known noise": (duda.FixedGaussian(0.3), {"structure": "full"}),
    "noise, closed form": (duda.FixedGaussian(), {"approximation": "closed-form"}),
}


def data(likelihood: Any, n: int, overlap: float = 1.0) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, 3).double()
    if isinstance(likelihood, duda.Categorical):
        return x, (x[:, :2] + overlap * torch.randn(n, 2).double()).argmax(1)
    return x, torch.sin(x[:, :1]) + 0.3 * torch.randn(n, 1).double()


def trained(likelihood: Any, epochs: int = 150, **arguments: Any) -> tuple[duda.Laplace, Any]:
    """Return a model of a network that knows its 40 examples by heart, and these."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 30), nn.ReLU(), nn.Linear(30, likelihood.width(2)))
        if isinstance(likelihood, duda.FixedGaussian | duda.Gaussian):
            net[2] = nn.Linear(30, likelihood.width(1))
        train = data(likelihood, 40)
    plain = duda.Deterministic(net.double(), likelihood)
    duda.fit(plain, train, epochs=epochs, lr=0.03, seed=0, target_scale=None)
    return duda.Laplace(net, likelihood, samples=400, **arguments), train


def loss(model: duda.UncertainModel, held: tuple[Tensor, Tensor]) -> float:
    return float(model.likelihood.prediction_loss(model.predict(held[0], seed=1), held[1]))


def plain_loss(model: duda.Laplace, held: tuple[Tensor, Tensor]) -> float:
    """Return the loss of the plain network, with the noise that suits the data best."""
    plain = duda.Deterministic(model.network, model.likelihood)
    if not model.likelihood.learns_noise:
        return loss(plain, held)
    squares = (plain.predict(held[0]).mean - held[1]).square().mean()
    return float(0.5 * (1 + (2 * math.pi * squares).log()))


@pytest.mark.parametrize("case", CASES)
def test_it_is_no_worse_than_the_plain_network_and_than_evidence(case: str) -> None:
    likelihood, arguments = CASES[case]
    model, train = trained(likelihood, **arguments)
    held = data(likelihood, 150)
    model.fit_posterior(train)
    evidence = loss(model, held)
    model.fit_posterior(train, validation=held)
    assert loss(model, held) <= min(plain_loss(model, held), evidence) + 2e-3
    assert model.prior_precision > 0


@pytest.mark.parametrize("case", ["kron", "gaussian", "known noise"])
def test_no_other_precision_is_much_better(case: str) -> None:
    likelihood, arguments = CASES[case]
    model, train = trained(likelihood, **arguments)
    held = data(likelihood, 150)
    model.fit_posterior(train, validation=held)
    found = loss(model, held)
    for exponent in range(-4, 6):
        other = duda.Laplace(
            model.network, likelihood, samples=400, prior_precision=10.0**exponent, **arguments
        )
        other.fit_posterior(train, validation=held)  # a given one stays
        assert other.prior_precision == 10.0**exponent
        assert found <= loss(other, held) + 3e-3


def test_noise_and_precision_are_those_of_the_densities() -> None:
    model, train = trained(duda.FixedGaussian(), approximation="closed-form", epochs=400)
    held = data(duda.FixedGaussian(), 60)
    model.fit_posterior(train, validation=held)
    found = loss(model, held)
    delta, noise = float(model.prior_precision), float(model.likelihood.noise())
    assert math.isfinite(delta)
    with torch.no_grad():
        outputs, features = model.with_features(held[0])
        _, own = model.with_features(train[0])
    for factor in (0.8, 1.0, 1.25):
        for other in (0.5, 1.0, 2.0):
            std = noise * factor
            h = own.T @ own / std**2 + delta * other * torch.eye(own.shape[1]).double()
            variance = std**2 + (features @ torch.linalg.inv(h) * features).sum(1, keepdim=True)
            expected = -Normal(outputs, variance.sqrt()).log_prob(held[1]).mean()
            if factor == other == 1.0:
                assert found == pytest.approx(float(expected), rel=1e-6)
            assert found <= float(expected) + 1e-6


def test_a_network_that_nothing_improves_stays_plain() -> None:
    """Half of the confidence would be right already, so that doubt only makes it worse."""
    net = nn.Linear(3, 2).double()
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[0.5, 0, 0], [-0.5, 0, 0]]))
        net.bias.zero_()
    x = torch.randn(200, 3).double()
    y = (x[:, 0] < 0).long()
    model = duda.Laplace(net, duda.Categorical())
    model.fit_posterior((x[:20], y[:20]), validation=(x, y))
    assert model.prior_precision == math.inf
    answer = model.predict(x, seed=0)
    torch.testing.assert_close(answer.probs, net(x).softmax(1).detach())
    assert bool((answer.epistemic.abs() < 1e-12).all())
    again = duda.Laplace(nn.Linear(3, 2).double(), duda.Categorical())
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.predict(x, seed=0).probs, answer.probs)
    assert model.predict(x, joint=True, keep_draws=True).draws.std(0).max() < 1e-12


def test_fit_chooses_by_its_validation_data_and_so_does_a_loop_of_ones_own() -> None:
    train, held = data(duda.Categorical(), 60), data(duda.Categorical(), 80)

    def model() -> duda.Laplace:
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 2)).double()
        return duda.Laplace(net, duda.Categorical())

    fitted, by_hand, without = model(), model(), model()
    duda.fit(fitted, train, epochs=5, seed=0, lr=0.01, validation=held)
    for other in (by_hand, without):
        other.network.load_state_dict(fitted.network.state_dict())
    by_hand.fit_posterior(train, validation=held, batch_size=80)
    without.fit_posterior(train)
    assert fitted.prior_precision == by_hand.prior_precision != without.prior_precision
    own = model()
    own.network.load_state_dict(fitted.network.state_dict())
    state = FitState(batches=lambda: iter([train]), validation=lambda: iter([held]))
    own.on_fit_end(state)
    assert own.prior_precision == fitted.prior_precision


def test_a_fall_of_confidence_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    model, train = trained(duda.Categorical(), epochs=600)
    sure = model.network(train[0]).softmax(1).amax(1).mean()
    with caplog.at_level(logging.WARNING):
        model.fit_posterior(train)
    assert f"from {float(sure.detach()):.3f} to " in caplog.text
    assert "give `validation`" in caplog.text
    caplog.clear()
    model.fit_posterior(train, validation=data(duda.Categorical(), 80))
    duda.Laplace(model.network, duda.Categorical(), prior_precision=1.0).fit_posterior(train)
    new = nn.Sequential(nn.Linear(3, 30), nn.ReLU(), nn.Linear(30, 2)).double()
    duda.Laplace(new, duda.Categorical()).fit_posterior(train)
    assert caplog.text == ""


def test_validation_without_targets_is_told() -> None:
    likelihood = duda.Categorical(ignore_index=9)
    model, train = trained(likelihood, epochs=1)
    with pytest.raises(ValueError, match="`validation` has no example with a target"):
        model.fit_posterior(train, validation=(train[0], torch.full((40,), 9)))
    with pytest.raises(ValueError, match="`validation` has 40 inputs but 3 targets"):
        model.fit_posterior(train, validation=(train[0], train[1][:3]))


@pytest.mark.parametrize("best", [1e-12, 1e-3, 1.0, 4e5, 1e14])
def test_the_least_loss_is_found_wherever_it_is(best: float) -> None:
    def dip(precision: float) -> float:
        distance = math.log10(precision / best) if math.isfinite(precision) else math.inf
        return 1 - 0.5 * math.exp(-(distance**2)) + (max(-distance, 0) if distance < 0 else 0)

    assert math.log10(least_loss(dip)) == pytest.approx(math.log10(best), abs=0.05)
    assert least_loss(lambda precision: 1.0) == math.inf
    assert least_loss(lambda precision: 1 + 1 / (1 + precision)) == math.inf
