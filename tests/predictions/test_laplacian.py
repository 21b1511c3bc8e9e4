"""Quantiles, intervals and densities of Laplace distributions against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.optimize import brentq

from duda import Laplacian, LaplacianPrediction

MEAN = torch.tensor([[0.0, 1.0], [2.0, -3.0]], dtype=torch.float64)
VARIANCE = torch.tensor([[2.0, 0.5], [8.0, 1e-4]], dtype=torch.float64)
LAPLACE = scipy.stats.laplace(MEAN.numpy(), np.sqrt(VARIANCE.numpy() / 2))


@pytest.fixture
def answer() -> LaplacianPrediction:
    return LaplacianPrediction(MEAN, VARIANCE / 4, 3 * VARIANCE / 4)


@pytest.mark.parametrize("q", [1e-6, 0.025, 0.3, 0.5, 0.9, 0.999])
def test_quantiles_are_those_of_scipy(answer: LaplacianPrediction, q: float) -> None:
    np.testing.assert_allclose(answer.quantile(q), LAPLACE.ppf(q), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shift", [-40.0, -0.1, 0.0, 2.0, 8.0])
def test_cdf_and_density_are_those_of_scipy(answer: LaplacianPrediction, shift: float) -> None:
    y = MEAN + shift * answer.std
    np.testing.assert_allclose(answer.cdf(y), LAPLACE.cdf(y), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(answer.log_prob(y), LAPLACE.logpdf(y), rtol=1e-9, atol=1e-9)


def test_kept_draws_make_the_exact_mixture() -> None:
    outputs = 3 * torch.randn(4, 2, 2, dtype=torch.float64)
    mixture = Laplacian().reduce(outputs, keep_draws=True)
    mean, variance = Laplacian().moments(outputs, dim=2)
    parts = scipy.stats.laplace(mean[:, 1, 0].numpy(), np.sqrt(variance[:, 1, 0].numpy() / 2))
    y = torch.tensor([[0.0], [0.7]])
    assert float(mixture.cdf(y)[1]) == pytest.approx(parts.cdf(0.7).mean(), rel=1e-7)
    assert float(mixture.log_prob(y)[1].exp()) == pytest.approx(parts.pdf(0.7).mean(), rel=1e-7)
    expected = brentq(lambda y: parts.cdf(y).mean() - 0.8, -100, 100, xtol=1e-12)
    assert float(mixture.quantile(0.8)[1]) == pytest.approx(expected, rel=1e-9)


def test_intervals_hold_their_level(answer: LaplacianPrediction) -> None:
    lower, upper = answer.interval(0.8)
    np.testing.assert_allclose(answer.cdf(upper) - answer.cdf(lower), 0.8, rtol=1e-9)


def test_without_noise_the_target_is_known() -> None:
    answer = LaplacianPrediction([[2.0]], [[0.0]])
    assert [answer.cdf([[y]]).item() for y in (1.9, 2.0, 2.1)] == [0, 1, 1]
    assert [answer.log_prob([[y]]).item() for y in (1.9, 2.0)] == [-np.inf, np.inf]
