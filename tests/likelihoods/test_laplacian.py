"""The Laplacian loss against torch and scipy, and its moments."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F

from duda import Laplacian, LaplacianPrediction


@pytest.mark.parametrize("floor", [0.0, 1e-3, 0.5])
def test_loss_is_that_of_torch_and_scipy(floor: float) -> None:
    outputs, y = torch.randn(50, 4, dtype=torch.float64), torch.randn(50, 2, dtype=torch.float64)
    location, scale = outputs[:, :2], F.softplus(outputs[:, 2:]) + floor
    density = torch.distributions.Laplace(location, scale).log_prob(y)
    loss = Laplacian(floor).loss(outputs, y)
    torch.testing.assert_close(loss, -density.sum(1).mean())
    density = scipy.stats.laplace.logpdf(y, location, scale)
    assert float(loss) == pytest.approx(-density.sum(1).mean(), rel=1e-12)


def test_moments_are_those_of_scipy() -> None:
    outputs = torch.randn(5, 2, dtype=torch.float64)
    mean, variance = Laplacian(0.0).moments(outputs)
    scale = np.logaddexp(0, outputs[:, 1:].numpy())
    np.testing.assert_allclose(variance, scipy.stats.laplace.var(mean, scale), rtol=1e-12)


def test_draws_obey_the_law_of_total_variance() -> None:
    draws = torch.randn(7, 5, 4, dtype=torch.float64)
    mean, variance = Laplacian().moments(draws, dim=2)
    answer = Laplacian().reduce(draws)
    assert isinstance(answer, LaplacianPrediction)
    torch.testing.assert_close(answer.aleatoric, variance.mean(0))
    torch.testing.assert_close(answer.epistemic, mean.var(0, correction=0))


def test_outputs_of_the_wrong_width_are_told() -> None:
    with pytest.raises(ValueError, match=r"expected 2 D numbers.*D locations, then D raw scales"):
        Laplacian().loss(torch.zeros(4, 3), torch.zeros(4, 1))


@pytest.mark.parametrize("wrong", [-1.0, math.inf, math.nan])
def test_a_bad_floor_is_told(wrong: float) -> None:
    with pytest.raises(ValueError, match="`floor` is"):
        Laplacian(floor=wrong)
