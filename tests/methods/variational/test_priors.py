"""KL divergences from priors: against torch.distributions, quadrature and their limits."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from torch import Tensor, distributions

from duda.methods.variational.priors import GaussianPrior, Prior, ScaleMixturePrior

stds = st.floats(1e-3, 1e2)


def normal_weights(count: int = 50) -> tuple[Tensor, Tensor]:
    return torch.randn(count).double(), torch.rand(count).double() + 0.01


@given(prior=stds, mean=st.floats(-10, 10), std=stds)
def test_gaussian_is_that_of_torch(prior: float, mean: float, std: float) -> None:
    mean, std, scale = (torch.tensor(each, dtype=torch.float64) for each in (mean, std, prior))
    expected = distributions.kl_divergence(
        distributions.Normal(mean, std), distributions.Normal(torch.zeros_like(scale), scale)
    )
    found = GaussianPrior(prior).kl_divergence(mean, std)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)


def test_gaussian_is_a_sum_over_weights() -> None:
    mean, std = normal_weights()
    prior = GaussianPrior(0.3)
    each = [prior.kl_divergence(m, s) for m, s in zip(mean, std, strict=True)]
    torch.testing.assert_close(prior.kl_divergence(mean, std), torch.stack(each).sum())
    torch.testing.assert_close(
        prior.kl_divergence(mean.view(5, 10), std.view(5, 10)), prior.kl_divergence(mean, std)
    )


@given(std=stds)
def test_nothing_is_far_from_itself(std: float) -> None:
    weights = torch.zeros(7).double(), torch.full((7,), std).double()
    torch.testing.assert_close(
        GaussianPrior(std).kl_divergence(*weights), torch.zeros(()).double(), atol=1e-12, rtol=0
    )


def test_density_of_the_mixture_is_that_of_torch() -> None:
    prior = ScaleMixturePrior(pi=0.25, std1=1.5, std2=0.01)
    parts = distributions.Normal(torch.zeros(2).double(), torch.tensor([1.5, 0.01]).double())
    mixture = distributions.MixtureSameFamily(
        distributions.Categorical(torch.tensor([0.25, 0.75]).double()), parts
    )
    weights = torch.linspace(-5, 5, 101).double()
    torch.testing.assert_close(prior.log_prob(weights), mixture.log_prob(weights))


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.05), (0.02, 0.01), (0.7, 0.3), (-2.0, 1.0)])
def test_mixture_has_the_expectation_of_quadrature(mean: float, std: float) -> None:
    prior = ScaleMixturePrior(pi=0.5, std1=1.0, std2=0.02)

    def integrand(z: float) -> float:
        log_q = -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
        log_p = float(prior.log_prob(torch.tensor(mean + std * z).double()))
        return math.exp(log_q) * (log_q - math.log(std) - log_p)

    exact, _ = quad(integrand, -10, 10, limit=200, points=[-mean / std] if mean else None)
    weights = torch.full((2000,), mean).double(), torch.full((2000,), std).double()
    estimates = torch.stack([prior.kl_divergence(*weights) for _ in range(100)]) / 2000
    assert abs(float(estimates.mean()) - exact) <= 5 * float(estimates.std()) / 10


def test_mixture_of_one_is_gaussian() -> None:
    mean, std = normal_weights(1)
    weights = mean.expand(100_000), std.expand(100_000)
    prior = ScaleMixturePrior(pi=0.3, std1=0.5, std2=0.5)
    estimate = float(prior.kl_divergence(*weights)) / 100_000
    exact = float(GaussianPrior(0.5).kl_divergence(mean, std))
    # What is estimated is the mean of (μ + σ z)² / 2 s², of which this is the variance.
    variance = (2 * std**4 + 4 * (mean * std) ** 2) / (4 * 0.5**4)
    assert abs(estimate - exact) <= 5 * math.sqrt(float(variance) / 100_000)


@pytest.mark.parametrize("prior", [GaussianPrior(0.1), ScaleMixturePrior()])
def test_half_precision_does_not_overflow(prior: Prior) -> None:
    mean, std = torch.zeros(100_000), torch.full((100_000,), 0.01)
    half = prior.kl_divergence(mean.half(), std.half())
    assert half.dtype is torch.float32
    torch.testing.assert_close(half, prior.kl_divergence(mean, std), rtol=0.01, atol=0)


@pytest.mark.parametrize("std", [0.0, -1.0, math.inf, math.nan])
def test_stds_are_above_zero(std: float) -> None:
    with pytest.raises(ValueError, match=r"`std` is .*above 0"):
        GaussianPrior(std)
    with pytest.raises(ValueError, match=r"`std1` is .*above 0"):
        ScaleMixturePrior(std1=std)
    with pytest.raises(ValueError, match=r"`std2` is .*above 0"):
        ScaleMixturePrior(std2=std)


@pytest.mark.parametrize("pi", [0.0, 1.0, -0.1, math.nan])
def test_a_share_is_between_zero_and_one(pi: float) -> None:
    with pytest.raises(ValueError, match=r"`pi` is .*above 0 and below 1"):
        ScaleMixturePrior(pi)
