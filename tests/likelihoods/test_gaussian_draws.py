"""Draws of means and variances make one mixture: the law of total variance, in any chunks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from duda import FixedGaussian, Gaussian, GaussianPrediction
from duda.likelihoods import Likelihood


def streamed(likelihood: Likelihood, draws: Tensor, cuts: list[int]) -> GaussianPrediction:
    reduction = likelihood.reduction()
    for chunk in draws.tensor_split(cuts):
        reduction.add(chunk)
    return reduction.result()


@given(
    st.integers(0, 2**32),
    st.integers(1, 7),
    st.sampled_from([(), (2,), (2, 2)]),
    st.sampled_from([torch.float32, torch.float64]),
    st.data(),
)
@settings(max_examples=100, deadline=None)
def test_moments_obey_the_law_of_total_variance(
    seed: int, members: int, positions: tuple[int, ...], dtype: torch.dtype, data: st.DataObject
) -> None:
    generator = torch.Generator().manual_seed(seed)
    draws = 5 * torch.randn(members, 3, 4, *positions, generator=generator).to(dtype)
    mean, variance = (value.double() for value in Gaussian().moments(draws, dim=2))
    cuts = sorted(data.draw(st.sets(st.integers(1, members))) - {members})
    order = data.draw(st.permutations(range(members)))
    for answer in (Gaussian().reduce(draws), streamed(Gaussian(), draws[list(order)], cuts)):
        assert answer.mean.dtype == dtype
        near = (
            {"rtol": 1e-5, "atol": 1e-5}
            if dtype == torch.float32
            else {"rtol": 1e-10, "atol": 1e-12}
        )
        np.testing.assert_allclose(answer.mean, mean.mean(0), **near)
        np.testing.assert_allclose(answer.aleatoric, variance.mean(0), **near)
        np.testing.assert_allclose(answer.epistemic, mean.var(0, correction=0), **near)
        # Lakshminarayanan et al. 2017: σ*² = mean(σ² + μ²) - μ*².
        total = (variance + mean**2).mean(0) - mean.mean(0) ** 2
        np.testing.assert_allclose(answer.variance, total, **near)


@pytest.mark.parametrize("cuts", [[], [500], list(range(1, 1000)), list(range(7, 1000, 7))])
def test_a_small_spread_around_a_large_mean_survives_float32(cuts: list[int]) -> None:
    spread = torch.randn(1000, 8, 1, dtype=torch.float64)
    spread = (spread - spread.mean(0)) / spread.std(0, correction=0)
    draws = (1000 + 0.01 * spread).float()
    answer = streamed(FixedGaussian(), draws, cuts)
    np.testing.assert_allclose(answer.epistemic.sqrt(), 0.01, rtol=0.01)
    np.testing.assert_allclose(answer.mean, 1000, rtol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_draws_that_agree_have_no_epistemic_variance(dtype: torch.dtype) -> None:
    draws = torch.randn(1, 5, 2).to(dtype)
    one, many = Gaussian().reduce(draws), Gaussian().reduce(draws.expand(30, 5, 2))
    assert not many.epistemic.any()
    assert torch.equal(many.mean, one.mean)
    assert torch.equal(many.aleatoric, one.aleatoric)
    assert many.mean.dtype == torch.promote_types(dtype, torch.float32)


def test_known_noise_is_the_aleatoric_variance() -> None:
    answer = FixedGaussian(noise_std=0.5).reduce(torch.randn(20, 3, 2))
    assert torch.equal(answer.aleatoric, torch.full((3, 2), 0.25))


def test_kept_draws_are_means_then_variances() -> None:
    draws = torch.randn(5, 3, 4)
    reduction = Gaussian().reduction(keep_draws=True)
    for chunk in draws.split(2):
        reduction.add(chunk)
    mean, variance = Gaussian().moments(draws, dim=2)
    assert torch.equal(reduction.result().draws, torch.cat([mean, variance], dim=2))
    assert Gaussian().reduce(draws).draws is None


@pytest.mark.parametrize(
    ("draws", "message"),
    [
        (torch.zeros(0, 3, 2), "at least one draw"),
        (torch.zeros(3, 2), "2 D numbers on dimension 2"),
        (torch.zeros(1, 3, 5), "2 D numbers on dimension 2"),
        (torch.full((2, 1, 2), torch.nan), "NaN.*check the network's weights"),
        (torch.full((2, 1, 2), torch.inf), "infinite.*check the network's weights"),
    ],
)
def test_bad_draws_are_told(draws: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Gaussian().reduce(draws)


def test_draws_of_another_shape_are_not_broadcast() -> None:
    reduction = FixedGaussian().reduction()
    reduction.add(torch.zeros(2, 5, 3))
    with pytest.raises(ValueError, match=r"shape \(2, 1, 3\), expected \(2, 5, 3\)"):
        reduction.add(torch.zeros(2, 1, 3))


def test_no_draws_make_no_prediction() -> None:
    with pytest.raises(ValueError, match="no draws to reduce"):
        Gaussian().reduction().result()
