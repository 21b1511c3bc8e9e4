"""The Gaussian losses against torch and scipy, and the errors that teach."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from duda import FixedGaussian, Gaussian
from duda.likelihoods import Likelihood


@pytest.mark.parametrize("floor", [0.0, 1e-6, 0.5])
def test_variance_is_softplus_plus_floor(floor: float) -> None:
    outputs = torch.randn(4, 6, 2, dtype=torch.float64)
    mean, variance = Gaussian(floor).moments(outputs)
    assert torch.equal(mean, outputs[:, :3])
    np.testing.assert_allclose(
        variance, np.logaddexp(0, outputs[:, 3:].numpy()) + floor, rtol=1e-12
    )


def test_loss_is_that_of_torch() -> None:
    outputs, y = torch.randn(50, 2), torch.randn(50, 1)
    expected = torch.nn.GaussianNLLLoss(full=True)(
        outputs[:, :1], y, F.softplus(outputs[:, 1:]) + 1e-6
    )
    torch.testing.assert_close(Gaussian().loss(outputs, y), expected)


@given(st.integers(0, 2**32), st.integers(1, 4), st.sampled_from([(), (3,), (2, 2)]))
@settings(max_examples=40, deadline=None)
def test_loss_sums_outputs_and_averages_the_rest(
    seed: int, targets: int, positions: tuple[int, ...]
) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs = 3 * torch.randn(5, 2 * targets, *positions, generator=generator, dtype=torch.float64)
    y = torch.randn(5, targets, *positions, generator=generator, dtype=torch.float64)
    mean, raw = outputs.numpy()[:, :targets], outputs.numpy()[:, targets:]
    density = scipy.stats.norm.logpdf(y, mean, np.sqrt(np.logaddexp(0, raw) + 1e-6))
    assert float(Gaussian().loss(outputs, y)) == pytest.approx(-density.sum(1).mean(), rel=1e-9)
    density = scipy.stats.norm.logpdf(y, mean, 0.3)
    fixed = FixedGaussian(0.3).loss(outputs[:, :targets], y)
    assert float(fixed) == pytest.approx(-density.sum(1).mean(), rel=1e-9)


def test_golden_loss() -> None:
    # uncertainty-toolbox 0.1.1 and torch 2.13.0, from standard deviations 1, 0.5, 2, 1.
    mean = torch.tensor([[0.0], [1.0], [2.0], [3.0]], dtype=torch.float64)
    variance = torch.tensor([[1.0], [0.5], [2.0], [1.0]], dtype=torch.float64).square()
    outputs = torch.cat([mean, variance.expm1().log()], dim=1)
    y = torch.tensor([[0.5], [1.2], [-1.0], [3.0]], dtype=torch.float64)
    assert float(Gaussian(floor=0).loss(outputs, y)) == pytest.approx(1.2514385332046727, abs=1e-6)


def test_half_precision_targets_are_not_rounded() -> None:
    outputs, y = torch.tensor([[1.0, 0.0]], dtype=torch.bfloat16), torch.tensor([[1.001]])
    loss = FixedGaussian(1e-3).loss(outputs[:, :1], y)
    expected = 0.5 + math.log(1e-3) + 0.5 * math.log(2 * math.pi)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(expected, abs=1e-3)


def test_whole_numbers_are_targets() -> None:
    torch.testing.assert_close(
        FixedGaussian().loss(torch.zeros(2, 1), torch.tensor([[1], [2]])),
        FixedGaussian().loss(torch.zeros(2, 1), torch.tensor([[1.0], [2.0]])),
    )


@pytest.mark.parametrize("likelihood", [Gaussian(), FixedGaussian(0.7)])
def test_gradient_is_that_of_the_loss(likelihood: Likelihood) -> None:
    outputs = torch.randn(3, likelihood.width(2), dtype=torch.float64, requires_grad=True)
    y = torch.randn(3, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda outputs: likelihood.loss(outputs, y), outputs)


@pytest.mark.parametrize("likelihood", [Gaussian(), FixedGaussian(0.7)])
def test_vmap_runs_the_unchecked_loss(likelihood: Likelihood) -> None:
    outputs, y = torch.randn(4, 6, likelihood.width(3)), torch.randn(4, 6, 3)
    losses = torch.func.vmap(likelihood.negative_log_likelihood)(outputs, y)
    looped = torch.stack([likelihood.loss(a, b) for a, b in zip(outputs, y, strict=True)])
    torch.testing.assert_close(losses, looped)


def test_width_is_what_the_moments_need() -> None:
    assert (Gaussian().width(3), FixedGaussian().width(3)) == (6, 3)
    for likelihood in (Gaussian(), FixedGaussian()):
        mean, variance = likelihood.moments(torch.randn(5, likelihood.width(3)))
        assert mean.shape == variance.shape == (5, 3)


@pytest.mark.parametrize(
    ("outputs", "y", "message"),
    [
        (torch.zeros(4, 4), torch.zeros(4), r"shape \(4,\), expected \(4, 2\)"),
        (torch.zeros(4, 2), torch.zeros(4, 1, 1), r"shape \(4, 1, 1\).*call `y.squeeze\(2\)`"),
        (torch.zeros(4, 4), torch.zeros(4, 4), r"expected \(4, 2\)"),
        (torch.zeros(4, 3), torch.zeros(4, 1), "expected 2 D numbers on dimension 1"),
        (torch.zeros(4), torch.zeros(4), "expected 2 D numbers on dimension 1"),
        (torch.zeros(2, 2), torch.tensor([[0.0], [torch.nan]]), r"1 NaN.*index \[1, 0\]"),
        (torch.zeros(2, 2), torch.tensor([[torch.inf], [0.0]]), r"1 infinite.*index \[0, 0\]"),
        (torch.zeros(0, 2), torch.zeros(0, 1), "empty, expected at least one example"),
    ],
)
def test_bad_targets_are_told(outputs: Tensor, y: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Gaussian().loss(outputs, y)


def test_one_output_without_its_dimension_is_told() -> None:
    with pytest.raises(ValueError, match=r"end the network in `nn.Linear\(..., 1\)`"):
        FixedGaussian().loss(torch.zeros(4), torch.zeros(4))


@pytest.mark.parametrize("wrong", [-1.0, math.inf, math.nan])
def test_bad_noise_is_told(wrong: float) -> None:
    with pytest.raises(ValueError, match="`floor` is"):
        Gaussian(floor=wrong)
    for noise in (wrong, 0.0):
        with pytest.raises(ValueError, match="`noise_std` is"):
            FixedGaussian(noise_std=noise)
