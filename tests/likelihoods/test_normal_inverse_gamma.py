"""Evidence for numbers: the Student t of scipy, the moments, and their limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from duda import GaussianPrediction, NormalInverseGamma


def raw(mean: Tensor, nu: Tensor, alpha: Tensor, beta: Tensor) -> Tensor:
    """Return the outputs that mean these parameters, up to the floor of 1e-6."""
    return torch.cat([mean, *(v.expm1().log() for v in (nu, alpha - 1, beta))], dim=1)


@pytest.fixture
def parameters() -> tuple[Tensor, ...]:
    mean = torch.randn(8, 2, dtype=torch.float64)
    nu, alpha, beta = (0.2 + 3 * torch.rand(8, 2, dtype=torch.float64) for _ in range(3))
    return mean, nu, alpha + 1, beta


def test_loss_is_the_density_of_scipys_student_t(parameters: tuple[Tensor, ...]) -> None:
    mean, nu, alpha, beta = parameters
    y = torch.randn(8, 2, dtype=torch.float64)
    scale = (beta * (1 + nu) / (nu * alpha)).sqrt()
    density = scipy.stats.t.logpdf(y, 2 * alpha, mean, scale)
    loss = NormalInverseGamma(penalty=0).loss(raw(*parameters), y)
    assert float(loss) == pytest.approx(-density.sum(1).mean(), rel=1e-5)
    wrong = ((y - mean).abs() * (2 * nu + alpha)).sum(1).mean()
    loss = NormalInverseGamma(penalty=0.3).loss(raw(*parameters), y)
    assert float(loss) == pytest.approx(-density.sum(1).mean() + 0.3 * float(wrong), rel=1e-5)


def test_prediction_has_the_moments_of_scipy(parameters: tuple[Tensor, ...]) -> None:
    mean, nu, alpha, beta = parameters
    answer = NormalInverseGamma().reduce(raw(*parameters)[None])
    assert isinstance(answer, GaussianPrediction)
    noise = scipy.stats.invgamma(alpha.numpy(), scale=beta.numpy())
    np.testing.assert_allclose(answer.mean, mean)
    np.testing.assert_allclose(answer.aleatoric, noise.mean(), rtol=1e-4)
    np.testing.assert_allclose(answer.epistemic, noise.mean() / nu.numpy(), rtol=1e-4)
    scale = (beta * (1 + nu) / (nu * alpha)).sqrt()
    total = scipy.stats.t.var(2 * alpha, mean, scale)
    np.testing.assert_allclose(answer.variance, total, rtol=1e-4)


def test_draws_add_the_variance_of_their_means() -> None:
    draws = torch.randn(6, 3, 8, dtype=torch.float64)
    mean, nu, excess, beta = NormalInverseGamma().evidence(draws, dim=2)
    answer = NormalInverseGamma().reduce(draws, keep_draws=True)
    torch.testing.assert_close(answer.aleatoric, (beta / excess).mean(0))
    doubt = (beta / excess / nu).mean(0)
    torch.testing.assert_close(answer.epistemic, doubt + mean.var(0, correction=0))
    # A kept draw is the Gaussian with its own total variance.
    torch.testing.assert_close(answer.draws, torch.cat([mean, beta / excess * (1 + 1 / nu)], dim=2))


def test_evidence_for_the_mean_removes_only_the_epistemic_part() -> None:
    answers = [
        NormalInverseGamma().reduce(torch.tensor([[[0.0, nu, 1.0, 1.0]]], dtype=torch.float64))
        for nu in (1.0, 1e3, 1e6)
    ]
    assert answers[0].aleatoric == answers[1].aleatoric == answers[2].aleatoric
    parts = [float(answer.epistemic / answer.aleatoric) for answer in answers]
    np.testing.assert_allclose(parts, [1 / math.log1p(math.e), 1e-3, 1e-6], rtol=1e-5)


def test_much_evidence_is_a_gaussian() -> None:
    # A known variance of 4: β = 4 (α - 1) with both large.
    mean, nu, excess = torch.zeros(1, 1), torch.full((1, 1), 1e7), torch.full((1, 1), 1e5)
    outputs = torch.cat([mean, nu, excess, 4 * excess], dim=1).double()
    for y in (0.0, 1.0, 5.0):
        loss = NormalInverseGamma(penalty=0).loss(outputs, torch.tensor([[y]]))
        assert float(loss) == pytest.approx(-scipy.stats.norm.logpdf(y, 0, 2), abs=1e-3)


@pytest.mark.parametrize("wrong", [-0.1, math.inf, math.nan])
def test_a_bad_penalty_is_told(wrong: float) -> None:
    with pytest.raises(ValueError, match="`penalty` is"):
        NormalInverseGamma(penalty=wrong)


def test_outputs_of_the_wrong_width_are_told() -> None:
    with pytest.raises(
        ValueError, match="expected 4 D numbers on dimension 1: D means, then D raw ν"
    ):
        NormalInverseGamma().loss(torch.zeros(5, 6), torch.zeros(5, 1))
