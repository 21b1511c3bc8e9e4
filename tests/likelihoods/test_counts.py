"""Likelihoods of counts: their losses against torch and scipy, their rates, bad targets."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F

import duda
from duda import NegativeBinomial, Poisson
from duda.likelihoods.counts import CountLikelihood

KINDS = [Poisson, NegativeBinomial]


def test_poissons_loss_is_that_of_torch() -> None:
    outputs, y = torch.randn(50, 2, dtype=torch.float64), torch.randint(9, (50, 2))
    expected = F.poisson_nll_loss(outputs, y.double(), reduction="none")
    expected = expected + torch.lgamma(y.double() + 1)
    torch.testing.assert_close(Poisson(floor=0).loss(outputs, y), expected.sum(1).mean())


def test_the_negative_binomial_loss_is_that_of_torch() -> None:
    outputs, y = torch.randn(50, 4, dtype=torch.float64), torch.randint(9, (50, 2))
    mean, dispersion = outputs[:, :2].exp() + 1e-6, F.softplus(outputs[:, 2:]) + 1e-6
    law = torch.distributions.NegativeBinomial(1 / dispersion, logits=(mean * dispersion).log())
    torch.testing.assert_close(NegativeBinomial().loss(outputs, y), -law.log_prob(y).sum(1).mean())


def test_large_counts_keep_their_digits_in_float32() -> None:
    outputs, y = torch.tensor([[math.log(3e6), -40.0]]), torch.tensor([[3_001_000.0]])
    rate = float(outputs[0, 0].double().exp())
    expected = -scipy.stats.poisson.logpmf(3_001_000, rate)
    assert float(Poisson().loss(outputs[:, :1], y)) == pytest.approx(expected, rel=1e-5)
    law = scipy.stats.nbinom(1e6, 1 / (1 + 1e-6 * rate))
    found = float(NegativeBinomial().loss(outputs, y))
    assert found == pytest.approx(-law.logpmf(3_001_000), rel=1e-5)


def test_rates_are_exponentials_that_stay_finite() -> None:
    raw = torch.tensor([-1e4, 0.0, 3.0, 30.0, 31.0, 1e4], requires_grad=True)
    means = Poisson().means(raw)
    assert bool(means.isfinite().all())
    np.testing.assert_allclose(means.detach()[1:4], np.exp([0, 3, 30]), rtol=1e-5)
    assert bool((means.diff() > 0).all())
    [slope] = torch.autograd.grad(means.sum(), raw)
    np.testing.assert_allclose(slope[2:], np.exp([3, 30, 30, 30]), rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [-1.0, 0.5])
def test_what_is_no_count_is_told(kind: type[CountLikelihood], wrong: float) -> None:
    y = torch.tensor([[3.0], [wrong], [0.0]])
    x = torch.zeros(3, 2)
    model = duda.Deterministic(torch.nn.Linear(2, kind().width(1)), kind())
    message = rf"`y` holds {wrong:g} and 0 more such, expected counts, which are whole numbers"
    with pytest.raises(ValueError, match=message):
        model.loss(x, y)
    with pytest.raises(ValueError, match=message):
        duda.fit(model, (x, y), epochs=1)


@pytest.mark.parametrize("kind", KINDS)
def test_counts_have_no_units(kind: type[CountLikelihood]) -> None:
    message = f"the targets of a {kind.__name__} have no units: leave it out"
    with pytest.raises(TypeError, match=message):
        kind(target_scale=duda.TargetScale(0.0, 2.0))
    model = duda.Deterministic(torch.nn.Linear(2, kind().width(1)), kind())
    data = torch.randn(9, 2), torch.arange(9)
    with pytest.raises(TypeError, match=message):
        duda.fit(model, data, epochs=1, target_scale=duda.TargetScale(0.0, 2.0))
    duda.fit(model, data, epochs=1)
    assert model.target_scale is None


@pytest.mark.parametrize("wrong", [-1.0, math.inf, math.nan])
def test_a_bad_floor_is_told(wrong: float) -> None:
    with pytest.raises(ValueError, match="`floor` is"):
        Poisson(floor=wrong)


def test_a_fit_finds_means_and_their_dispersion() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.rand(1500, 1, generator=g) * 2 - 1
    mean = (2 + x).exp()
    rate = torch.distributions.Gamma(2.0, 2.0 / mean)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        y = torch.poisson(rate.sample())
        found = {}
        for kind in KINDS:
            model = duda.Deterministic(torch.nn.Linear(1, kind().width(1)), kind())
            duda.fit(model, (x, y), epochs=30, lr=0.03, seed=0)
            found[kind] = model.predict(x)
    for answer in found.values():
        torch.testing.assert_close(answer.mean, mean, rtol=0.1, atol=0)
    dispersion = found[NegativeBinomial].draws[0, :, 1]
    assert float(dispersion.mean()) == pytest.approx(0.5, rel=0.1)
    errors = {k: duda.evaluation.pit(a, y).coverage.mean_error for k, a in found.items()}
    assert errors[NegativeBinomial] < 0.02
    assert errors[Poisson] > 0.1
