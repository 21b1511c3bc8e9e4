"""The Student t loss against torch and scipy, its tails, and mixtures of draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F

import duda
from duda import StudentT, StudentTPrediction

ROWS = torch.Generator().manual_seed(0)
OUTPUTS = torch.randn(7, 5, 6, generator=ROWS, dtype=torch.float64)
Y = 3 * torch.randn(5, 2, generator=ROWS, dtype=torch.float64)


@pytest.mark.parametrize("df", [None, 2.5, 7])
def test_loss_is_that_of_torch_and_scipy(df: float | None) -> None:
    outputs = OUTPUTS[0] if df is None else OUTPUTS[0][:, :4]
    location, scale, *raw = outputs.split(2, dim=1)
    scale = F.softplus(scale) + 1e-3
    nu = 2.001 + F.softplus(raw[0]) if df is None else torch.full_like(location, df)
    loss = StudentT(df).loss(outputs, Y)
    expected = -torch.distributions.StudentT(nu, location, scale).log_prob(Y).sum(1).mean()
    torch.testing.assert_close(loss, expected)
    density = scipy.stats.t(nu.numpy(), location.numpy(), scale.numpy()).logpdf(Y)
    assert float(loss) == pytest.approx(-density.sum(1).mean(), rel=1e-9)


@pytest.mark.parametrize("df", [None, 4.0])
def test_draws_are_an_exact_mixture(df: float | None) -> None:
    likelihood = StudentT(df)
    outputs = OUTPUTS if df is None else OUTPUTS[:, :, :4]
    answer = likelihood.reduce(outputs)
    assert isinstance(answer, StudentTPrediction)
    mean, std, nu = likelihood.parameters(outputs, dim=2)
    scale = std * ((nu - 2) / nu).sqrt()
    laws = scipy.stats.t(nu.numpy(), mean.numpy(), scale.numpy())
    np.testing.assert_allclose(answer.cdf(Y), laws.cdf(Y).mean(0), rtol=1e-9)
    np.testing.assert_allclose(answer.log_prob(Y), np.log(laws.pdf(Y).mean(0)), rtol=1e-9)
    torch.testing.assert_close(answer.cdf(answer.quantile(0.2)), torch.full_like(Y, 0.2))
    np.testing.assert_allclose(answer.aleatoric, laws.var().mean(0), rtol=1e-9)
    np.testing.assert_allclose(answer.epistemic, laws.mean().var(0), rtol=1e-9)


def test_outliers_move_it_less_than_a_gaussian() -> None:
    x = torch.linspace(-1, 1, 400, dtype=torch.float64).unsqueeze(1)
    y = x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).double()
    y[::20] += 30.0
    errors = {}
    for likelihood in (StudentT(), StudentT(df=3.0), duda.Gaussian()):
        torch.manual_seed(0)
        model = duda.Deterministic(torch.nn.Linear(1, likelihood.width(1)).double(), likelihood)
        duda.fit(model, (x, y), epochs=60, lr=0.02, seed=0)
        errors[likelihood] = float((model.predict(x).mean - x).abs().mean())
    assert errors[StudentT()] < 0.1
    assert errors[StudentT(df=3.0)] < 0.1
    assert errors[duda.Gaussian()] > 1


@pytest.mark.parametrize("wrong", [2.0, 1.0, -3.0, math.nan, "3"])
def test_too_few_degrees_of_freedom_are_told(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"`df` is .*expected degrees of freedom above 2, without"):
        StudentT(df=wrong)


def test_what_is_put_out_is_told() -> None:
    with pytest.raises(ValueError, match=r"3 D.*D locations, then D raw scales, then"):
        StudentT().loss(torch.zeros(4, 4), torch.zeros(4, 1))
    with pytest.raises(ValueError, match=r"expected 2 D.*D locations, then D raw scales\."):
        StudentT(df=3.0).loss(torch.zeros(4, 3), torch.zeros(4, 1))
