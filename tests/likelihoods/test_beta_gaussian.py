"""The weighted Gaussian loss: its value, its gradient, and both ends of beta."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from duda import BetaGaussian, Gaussian


def case(seed: int, targets: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    outputs = 2 * torch.randn(6, 2 * targets, generator=generator, dtype=torch.float64)
    return outputs.requires_grad_(), torch.randn(6, targets, generator=generator).double()


@given(st.integers(0, 2**32), st.floats(0, 1))
@settings(max_examples=40)
def test_gradient_is_the_plain_one_times_variance_to_the_beta(seed: int, beta: float) -> None:
    outputs, y = case(seed)
    _, variance = Gaussian().moments(outputs.detach())
    [plain] = torch.autograd.grad(Gaussian().loss(outputs, y), outputs)
    [weighted] = torch.autograd.grad(BetaGaussian(beta=beta).loss(outputs, y), outputs)
    torch.testing.assert_close(weighted, variance**beta * plain)


def test_value_is_a_weighted_sum_over_outputs() -> None:
    outputs, y = case(0, targets=3)
    mean, variance = Gaussian().moments(outputs)
    density = torch.distributions.Normal(mean, variance.sqrt()).log_prob(y)
    expected = -(variance**0.5 * density).sum(1).mean()
    torch.testing.assert_close(BetaGaussian().loss(outputs, y), expected)


def test_beta_of_zero_is_the_plain_gaussian() -> None:
    outputs, y = case(1, targets=2)
    assert torch.equal(BetaGaussian(beta=0).loss(outputs, y), Gaussian().loss(outputs, y))


def test_beta_of_one_trains_the_mean_by_the_squared_error() -> None:
    outputs, y = case(2)
    [gradient] = torch.autograd.grad(BetaGaussian(beta=1).loss(outputs, y), outputs)
    torch.testing.assert_close(gradient[:, :1], (outputs[:, :1] - y).detach() / 6)


def test_prediction_is_that_of_the_plain_gaussian() -> None:
    draws = torch.randn(4, 5, 6)
    one, other = BetaGaussian(floor=0.1).reduce(draws), Gaussian(floor=0.1).reduce(draws)
    assert type(one) is type(other)
    assert torch.equal(one.variance, other.variance)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.nan])
def test_a_bad_beta_is_told(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"`beta` is .*expected a number from 0 to 1"):
        BetaGaussian(beta=wrong)
    with pytest.raises(ValueError, match="`floor` is"):
        BetaGaussian(floor=-1.0)
