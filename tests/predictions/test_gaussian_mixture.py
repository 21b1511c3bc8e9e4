"""Predictions of mixture density networks, against weighted sums of scipy's Gaussians."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import trapezoid
from torch import Tensor

from duda import load_prediction
from duda.evaluation import crps_of_mixture
from duda.predictions import MixturePrediction
from duda.predictions.members import MembersPrediction

M, N, K, D = 3, 4, 5, 2


def made(*, members: int = M, rows: int = N, seed: int = 0) -> MixturePrediction:
    g = torch.Generator().manual_seed(seed)
    weights, means, scales = torch.randn(3, members, rows, K, D, generator=g).double()
    parts = weights.softmax(2), 2 * means, scales.exp()
    return MixturePrediction(torch.stack(parts, 2).flatten(2, 4), per_draw=K)


def parts(answer: MixturePrediction) -> tuple[np.ndarray, ...]:
    """Return weights, means and scales, `(M, N, K, D)` each."""
    draws = answer.draws.numpy().reshape(-1, len(answer), 3, K, D)
    return tuple(np.moveaxis(draws, 2, 0))


def below(answer: MixturePrediction, y: np.ndarray) -> np.ndarray:
    weights, means, scales = parts(answer)
    cdf = scipy.stats.norm(means, scales).cdf(y[:, None])
    return np.asarray((weights * cdf).sum(2).mean(0))


def test_the_law_is_a_weighted_sum() -> None:
    answer = made()
    weights, means, scales = parts(answer)
    y = np.random.default_rng(0).normal(size=(N, D))
    np.testing.assert_allclose(answer.cdf(y), below(answer, y), rtol=1e-9)
    density = (weights * scipy.stats.norm(means, scales).pdf(y[:, None])).sum(2).mean(0)
    np.testing.assert_allclose(answer.log_prob(y), np.log(density), rtol=1e-9)
    each = (weights * means).sum(2)
    np.testing.assert_allclose(answer.mean, each.mean(0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(answer.epistemic, each.var(0), rtol=1e-9)
    second = (weights * (scales**2 + means**2)).sum(2).mean(0)
    np.testing.assert_allclose(answer.variance, second - each.mean(0) ** 2, rtol=1e-9)
    torch.testing.assert_close(answer.variance, answer.aleatoric + answer.epistemic)
    for member, logs in zip(answer.components(), answer.log_likelihoods(y), strict=True):
        torch.testing.assert_close(member.log_prob(y), logs)


@given(q=st.floats(1e-4, 1 - 1e-4), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_quantiles_invert_the_cdf(q: float, seed: int) -> None:
    answer = made(seed=seed)
    found = answer.quantile(q)
    torch.testing.assert_close(answer.cdf(found), torch.full((N, D), q).double())
    assert bool((answer.quantile(min(q * 1.1, 0.99999)) >= found).all())


def test_crps_is_the_integral_that_defines_it() -> None:
    answer = made()
    y = answer.quantile(0.3) + torch.linspace(-4, 4, N * D).view(N, D)
    found = answer.crps(y)
    torch.testing.assert_close(found, MembersPrediction.crps(answer, y), rtol=5e-3, atol=0)
    for n, d in itertools.product(range(2), range(D)):
        weights, means, scales = (each[:, 0, :, d].flatten() for each in parts(answer[n]))
        expected = 0.0
        for end, high in ((-200, 0), (200, 1)):
            x = np.linspace(end, float(y[n, d]), 40_000)
            cdf = scipy.stats.norm(means, scales).cdf(x[:, None]) @ weights / M
            expected += abs(trapezoid((cdf - high) ** 2, x))
        assert float(found[n, d]) == pytest.approx(expected, rel=1e-5)


def test_equal_weights_are_a_mixture_of_members() -> None:
    g = torch.Generator().manual_seed(0)
    means, scales = torch.randn(2, N, K, D, generator=g).double()
    weights = torch.full_like(means, 1 / K)
    answer = MixturePrediction.of(weights=weights, means=means, scales=scales.exp())
    y = torch.randn(N, D, generator=g).double()
    expected = crps_of_mixture(means.movedim(1, 0), scales.exp().movedim(1, 0), y)
    torch.testing.assert_close(answer.crps(y), expected)
    assert len(answer.components()) == 1


def test_samples_have_the_law() -> None:
    answer = made()[:1]
    drawn = answer.sample(4000, seed=0)
    assert torch.equal(drawn, answer.sample(4000, seed=0))
    for d in range(D):
        values = torch.stack([answer.cdf(row)[0, d] for row in drawn])
        assert scipy.stats.kstest(values.numpy(), "uniform").pvalue > 1e-4


def test_other_units() -> None:
    answer = made()
    y = answer.quantile(0.7)
    for factor, offset in ((3.0, 0.0), (2.0, 5.0)):
        moved, there = answer.rescaled(factor=factor, offset=offset), offset + factor * y
        assert type(moved) is MixturePrediction
        torch.testing.assert_close(moved.cdf(there), answer.cdf(y))
        torch.testing.assert_close(moved.crps(there), factor * answer.crps(y))
        torch.testing.assert_close(moved.std, factor * answer.std)
    wider = answer.stretched(torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(wider.mean, answer.mean)
    torch.testing.assert_close(wider.std, answer.std * torch.tensor([1.0, 2.0]))


def test_positions_files_rows_and_joins(tmp_path: Path) -> None:
    places = [made(seed=seed) for seed in range(3)]
    draws = torch.stack([each.draws for each in places], -1)
    answer = MixturePrediction(draws, per_draw=K).with_joint(True)
    assert answer.said_shape == (D, 3)
    y = torch.randn(N, D, 3).double()
    for ask in ("cdf", "log_prob", "crps"):
        alone = [getattr(each, ask)(y[..., k]) for k, each in enumerate(places)]
        torch.testing.assert_close(getattr(answer, ask)(y), torch.stack(alone, -1))
    drawn: Tensor = answer.sample(7, seed=0)
    assert drawn.shape == (7, N, D, 3)
    back = load_prediction(answer.save(tmp_path / "answer"))
    joined = MixturePrediction.concatenate([answer[:1], answer[1:]])
    for other in (back, joined):
        assert isinstance(other, MixturePrediction)
        assert (other.per_draw, other.joint) == (K, True)
        assert torch.equal(other.draws, answer.draws)
    moved = answer.with_epistemic(torch.zeros(N, D, 3))
    torch.testing.assert_close(moved.aleatoric, answer.variance)
    torch.testing.assert_close(moved.rescaled(factor=2.0).aleatoric, 4 * answer.variance)


def test_bad_parts_are_told() -> None:
    half, one = torch.full((1, 2, 1), 0.5), torch.ones(1, 2, 1)
    MixturePrediction.of(weights=half, means=one, scales=one)
    with pytest.raises(ValueError, match=r"are no distributions: .* add up to a number 1 away"):
        MixturePrediction.of(weights=one, means=one, scales=one)
    with pytest.raises(ValueError, match="`scales` holds 0, expected numbers above 0"):
        MixturePrediction.of(weights=half, means=one, scales=0 * one)
    with pytest.raises(ValueError, match=r"`means` has shape \(1, 3, 1\)"):
        MixturePrediction.of(weights=half, means=torch.ones(1, 3, 1), scales=one)
    with pytest.raises(ValueError, match=r"expected \(M, N, 6 D, \*positions\): D weights of each"):
        MixturePrediction(torch.ones(1, 2, 7), per_draw=2)
