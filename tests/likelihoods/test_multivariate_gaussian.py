"""The multivariate Gaussian loss against torch and scipy, with any covariance and by low rank."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import duda
from duda import MultivariateGaussian

D, FLOOR = 3, 1e-3


def outputs_and_targets(rank: int | None, rows: int = 20) -> tuple[Tensor, Tensor]:
    width = MultivariateGaussian(rank).width(D)
    return torch.randn(rows, width).double(), torch.randn(rows, D).double()


def covariance_by_hand(outputs: Tensor, rank: int | None) -> Tensor:
    """Return what the raw outputs of one example mean, entry by entry."""
    scale, rest = F.softplus(outputs[D : 2 * D]) + FLOOR, outputs[2 * D :].tolist()
    if rank is not None:
        loadings = torch.tensor(rest).double().view(rank, D)
        common = sum((torch.outer(g, g) for g in loadings), torch.zeros(D, D))
        return torch.outer(scale, scale) * (torch.eye(D) + common)
    made = torch.zeros(D, D).double()  # each number from those before it, and noise
    for i in range(D):
        for j in range(i):
            made[i] += rest.pop(0) * made[j]
        made[i, i] = scale[i]
    return made @ made.T


@pytest.mark.parametrize("rank", [None, 1, 2, 4])
def test_loss_is_that_of_scipy(rank: int | None) -> None:
    outputs, y = outputs_and_targets(rank)
    each = [
        scipy.stats.multivariate_normal.logpdf(target, row[:D], covariance_by_hand(row, rank))
        for row, target in zip(outputs, y, strict=True)
    ]
    loss = MultivariateGaussian(rank).loss(outputs, y)
    assert float(loss) == pytest.approx(-np.mean(each), rel=1e-10)


def test_low_rank_is_that_of_torch() -> None:
    outputs, y = outputs_and_targets(2)
    scale = F.softplus(outputs[:, D : 2 * D]) + FLOOR
    factor = scale.unsqueeze(2) * outputs[:, 2 * D :].view(-1, 2, D).mT
    law = torch.distributions.LowRankMultivariateNormal(outputs[:, :D], factor, scale.square())
    loss = MultivariateGaussian(2).loss(outputs, y)
    torch.testing.assert_close(loss, -law.log_prob(y).mean())


def test_without_slopes_it_is_the_gaussian() -> None:
    outputs, y = torch.randn(20, 2 * D).double(), torch.randn(20, D).double()
    scale = F.softplus(outputs[:, D:]) + FLOOR
    expected = -torch.distributions.Normal(outputs[:, :D], scale).log_prob(y).sum(1).mean()
    for rank, rest in ((None, 3), (2, 6)):
        whole = torch.cat([outputs, torch.zeros(20, rest)], dim=1)
        torch.testing.assert_close(MultivariateGaussian(rank).loss(whole, y), expected)


@pytest.mark.parametrize("rank", [None, 1])
def test_low_rank_keeps_its_digits_in_float32(rank: int | None) -> None:
    outputs, y = outputs_and_targets(rank, 200)
    outputs[:, 2 * D :] *= 1e3  # nearly all of the noise is common
    exact = MultivariateGaussian(rank).loss(outputs, y)
    short = MultivariateGaussian(rank).loss(outputs.float(), y)
    assert float(short) == pytest.approx(float(exact), rel=1e-4)


@pytest.mark.parametrize("rank", [None, 1])
def test_a_covariance_is_learned_in_units_of_the_targets(rank: int | None) -> None:
    torch.manual_seed(0)
    x, noise = torch.rand(1000, 1), torch.randn(1000, 2)
    first = noise[:, :1]
    y = torch.cat([1e4 + 100 * (x + first), 5 * (0.8 * first + 0.6 * noise[:, 1:])], dim=1)
    likelihood = MultivariateGaussian(rank)
    model = duda.Deterministic(nn.Linear(1, likelihood.width(2)), likelihood)
    duda.fit(model, (x, y), epochs=30, lr=0.05, seed=0)
    answer = model.predict(x[:5])
    assert isinstance(answer, duda.MultivariateGaussianPrediction)
    expected = torch.tensor([[1e4, 400.0], [400.0, 25.0]])
    torch.testing.assert_close(
        answer.covariance.mean(0), expected.to(answer.covariance), rtol=0.2, atol=0
    )
    inside = model.predict(x).ellipsoid(0.9).contains(y)
    assert 0.87 < float(inside.double().mean()) < 0.93
    # What judges a training is the loss itself, in units of the targets.
    said = -model.predict(x).joint_log_prob(y).mean()
    torch.testing.assert_close(model.validation_loss(x, y).double(), said, rtol=1e-5, atol=0)


@pytest.mark.parametrize(("rank", "told"), [(None, r"D \(D - 1\) / 2 slopes"), (2, "2 D loadings")])
def test_outputs_of_the_wrong_width_are_told(rank: int | None, told: str) -> None:
    with pytest.raises(ValueError, match=rf"shape \(4, 7\).*{told}, such as \d for D = 2"):
        MultivariateGaussian(rank).loss(torch.zeros(4, 7), torch.zeros(4, 1))


def test_bad_settings_are_told() -> None:
    with pytest.raises(ValueError, match="`rank` is 0"):
        MultivariateGaussian(0)
    with pytest.raises(ValueError, match="`floor` is"):
        MultivariateGaussian(floor=-1.0)
