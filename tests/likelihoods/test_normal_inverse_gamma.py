"""Evidence for numbers: the Student t of scipy, the moments, and their limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from duda import NormalInverseGamma, StudentTPrediction


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
    assert isinstance(answer, StudentTPrediction)
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
    # A kept draw is the Student t with its own total variance, of 2α degrees of freedom.
    total, df = beta / excess * (1 + 1 / nu), 2 + 2 * excess
    torch.testing.assert_close(answer.draws, torch.cat([mean, total, df], dim=2))
    torch.testing.assert_close(answer.df, 1 / (1 / df).mean(0))


def test_one_draw_is_the_student_t_of_scipy(parameters: tuple[Tensor, ...]) -> None:
    mean, nu, alpha, beta = parameters
    answer = NormalInverseGamma().reduce(raw(*parameters)[None])
    law = scipy.stats.t(2 * alpha, mean, (beta * (1 + nu) / (nu * alpha)).sqrt())
    y = torch.randn(8, 2, dtype=torch.float64)
    np.testing.assert_allclose(answer.log_prob(y), law.logpdf(y), rtol=1e-4)
    np.testing.assert_allclose(answer.cdf(y), law.cdf(y), rtol=1e-4)
    np.testing.assert_allclose(answer.quantile(0.9), law.ppf(0.9), rtol=1e-4)


@pytest.mark.parametrize("raw_alpha", [-12.0, -30.0])
def test_hardly_any_evidence_leaves_the_scale_of_the_noise(raw_alpha: float) -> None:
    """The variance is near infinite, the interval that holds half of it is not."""
    outputs = torch.tensor([[0.0, 0.0, raw_alpha, 0.0]])
    _, nu, excess, beta = (float(each) for each in NormalInverseGamma().evidence(outputs))
    scale = math.sqrt(beta * (1 + nu) / (nu * (excess + 1)))
    _, upper = NormalInverseGamma().reduce(outputs[None]).interval(0.5)
    expected = scipy.stats.t.ppf(0.75, 2 * (1 + excess)) * scale
    assert float(upper) == pytest.approx(expected, rel=1e-4)


def test_splitting_draws_changes_nothing() -> None:
    draws = torch.randn(6, 3, 8)
    reduction = NormalInverseGamma().reduction(keep_draws=True)
    for part in (draws[:1], draws[1:4], draws[4:]):
        reduction.add(part)
    whole = NormalInverseGamma().reduce(draws, keep_draws=True).numpy()
    for name, value in reduction.result().numpy().items():
        np.testing.assert_allclose(value, whole[name], rtol=1e-5, err_msg=name)


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


@pytest.mark.parametrize("evidence", [1.0, 29.0, 31.0, 1e3, 1e5, 1e8, 1e12])
@pytest.mark.parametrize("error", [0.0, 0.5, 3.0])
def test_the_loss_of_much_evidence_is_that_of_the_normal_it_becomes(
    evidence: float, error: float
) -> None:
    """In float32, in which log-gammas of 1e8 are 128 apart."""
    likelihood, y = NormalInverseGamma(penalty=0), torch.tensor([[error]])
    found, slopes = [], []
    for dtype in (torch.float32, torch.float64):
        outputs = torch.tensor([[0.0, *[evidence] * 3]], dtype=dtype, requires_grad=True)
        loss = likelihood.loss(outputs, y.to(dtype))
        loss.backward()
        found.append(loss.detach().double())
        slopes.append(outputs.grad.double())
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-4, atol=0)
    _, nu, excess, beta = (float(each) for each in likelihood.evidence(outputs.detach()))
    law = scipy.stats.t(2 * excess + 2, 0, math.sqrt(beta * (1 + 1 / nu) / (1 + excess)))
    if evidence <= 1e8:  # beyond which scipy's cancels
        assert float(found[1]) == pytest.approx(-law.logpdf(error), abs=1e-6)
    else:
        assert float(found[1]) == pytest.approx(-scipy.stats.norm.logpdf(error), abs=1e-6)
    answer = likelihood.reduce(outputs.detach()[None])
    assert -float(answer.log_prob(y.double())) == pytest.approx(float(found[1]), abs=1e-5)
