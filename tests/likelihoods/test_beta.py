"""The beta loss against torch, shares that are learned, and bad targets."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

import duda
from duda import Beta


def test_loss_is_that_of_torch() -> None:
    outputs, y = torch.randn(6, 4).double(), torch.rand(6, 2).double()
    share, precision = outputs[:, :2].sigmoid(), F.softplus(outputs[:, 2:])
    law = torch.distributions.Beta(share * precision + 1e-2, (1 - share) * precision + 1e-2)
    torch.testing.assert_close(Beta().loss(outputs, y), -law.log_prob(y).sum(1).mean())


def test_shares_are_learned() -> None:
    x = torch.linspace(-1, 1, 1000).unsqueeze(1)
    mean = (2 * x).sigmoid()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        y = torch.distributions.Beta(8 * mean, 8 * (1 - mean)).sample()
        model = duda.Deterministic(torch.nn.Linear(1, 2), Beta())
    duda.fit(model, (x, y), epochs=60, lr=0.1, seed=0)
    answer = model.predict(x)
    torch.testing.assert_close(answer.mean, mean, rtol=0, atol=0.03)
    assert duda.evaluation.pit(answer, y).coverage.mean_error < 0.03
    low, high = answer.interval(0.99)
    assert bool(((low > 0) & (high < 1)).all())


@pytest.mark.parametrize("wrong", [0.0, 1.0, -0.2, 30.0])
def test_what_is_no_share_is_told(wrong: float) -> None:
    y = torch.tensor([[0.5], [wrong]])
    message = rf"`y` holds {wrong:g} and 0 more such, expected shares above 0 and below 1: of n "
    with pytest.raises(ValueError, match=message + "examples give"):
        Beta().loss(torch.zeros(2, 2), y)
    with pytest.raises(TypeError, match="the targets of a Beta have no units"):
        Beta(target_scale=duda.TargetScale(0.0, 1.0))


@pytest.mark.parametrize("wrong", [-1.0, math.inf, math.nan])
def test_a_bad_floor_is_told(wrong: float) -> None:
    with pytest.raises(ValueError, match="`floor` is"):
        Beta(floor=wrong)


def test_a_share_that_is_missing_moves_nothing_however_sure_the_network_is() -> None:
    outputs = torch.tensor([[3.0, 50.0]], requires_grad=True)
    loss = Beta(missing="nan").loss(outputs, torch.tensor([[torch.nan]]))
    (slope,) = torch.autograd.grad(loss, outputs)
    assert float(loss.detach()) == 0
    assert slope.tolist() == [[0.0, 0.0]]
