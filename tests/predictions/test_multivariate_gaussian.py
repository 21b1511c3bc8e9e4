"""Mixtures of multivariate Gaussians against scipy, numbers together and each by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from duda import GaussianPrediction, MultivariateGaussianPrediction, load_prediction
from duda.predictions.covariances import width_for

M, N, D = 3, 4, 3
RANKS = (None, 2)


def made(
    rank: int | None = None, *, members: int = M, seed: int = 0
) -> MultivariateGaussianPrediction:
    g = torch.Generator().manual_seed(seed)
    draws = torch.randn(members, N, width_for(D, rank), generator=g).double()
    draws[:, :, D : 2 * D] = 0.3 + draws[:, :, D : 2 * D].abs()
    return MultivariateGaussianPrediction(draws, rank=rank)


def laws(answer: MultivariateGaussianPrediction, row: int) -> list[scipy.stats.rv_continuous]:
    """Return scipy's law of each draw."""
    return [
        scipy.stats.multivariate_normal(part.mean[row], part.covariance[row])
        for part in answer.components()
    ]


@pytest.mark.parametrize("rank", RANKS)
def test_joint_density_is_that_of_scipys_mixture(rank: int | None) -> None:
    answer, y = made(rank), torch.randn(N, D).double()
    for row in range(N):
        density = np.mean([law.pdf(y[row]) for law in laws(answer, row)])
        assert float(answer.joint_log_prob(y)[row].exp()) == pytest.approx(density, rel=1e-9)
    entropy = np.mean([law.entropy() for law in laws(answer, 0)])
    assert float(answer.expected_entropy[0]) == pytest.approx(entropy, rel=1e-9)


@pytest.mark.parametrize("rank", RANKS)
def test_each_number_by_itself_is_the_mixture_of_gaussians(rank: int | None) -> None:
    answer, y = made(rank), torch.randn(N, D).double()
    parts = answer.components()
    variances = [part.covariance.diagonal(dim1=1, dim2=2) for part in parts]
    draws = [torch.cat([p.mean, v], dim=1) for p, v in zip(parts, variances, strict=True)]
    other = GaussianPrediction(
        answer.mean, torch.stack(variances).mean(0), answer.epistemic, torch.stack(draws)
    )
    for name in ("mean", "std", "aleatoric", "epistemic"):
        torch.testing.assert_close(getattr(answer, name), getattr(other, name))
    torch.testing.assert_close(answer.quantile(0.1), other.quantile(0.1))
    for name in ("cdf", "log_prob", "crps"):
        torch.testing.assert_close(getattr(answer, name)(y), getattr(other, name)(y))


@given(seed=st.integers(0, 2**32), members=st.integers(1, 5), rank=st.sampled_from(RANKS))
@settings(max_examples=20)
def test_covariances_obey_the_law_of_total_covariance(
    seed: int, members: int, rank: int | None
) -> None:
    answer = made(rank, members=members, seed=seed)
    total = answer.aleatoric_covariance + answer.epistemic_covariance
    torch.testing.assert_close(answer.covariance, total)
    torch.testing.assert_close(total.diagonal(dim1=1, dim2=2), answer.variance)
    means = torch.stack([part.mean for part in answer.components()])
    expected = np.cov(means[:, 0].T.numpy(), bias=True) if members > 1 else 0 * total[0].numpy()
    np.testing.assert_allclose(answer.epistemic_covariance[0], expected, atol=1e-12)


@given(seed=st.integers(0, 2**32), rank=st.sampled_from(RANKS))
@settings(max_examples=20)
def test_the_covariance_goes_along_with_units(seed: int, rank: int | None) -> None:
    answer, y = made(rank, seed=seed), torch.randn(N, D).double()
    factor, offset = torch.tensor([0.1, 1.0, 1e3]).double(), torch.tensor([1e6, 0, -3]).double()
    moved = answer.affine(factor.view(1, -1), offset.view(1, -1))
    torch.testing.assert_close(moved.covariance, answer.covariance * torch.outer(factor, factor))
    log_density = answer.joint_log_prob(y) - factor.log().sum()
    found = moved.joint_log_prob(offset + factor * y)
    torch.testing.assert_close(found, log_density, rtol=1e-6, atol=1e-6)


def test_a_covariance_comes_back() -> None:
    root = torch.randn(N, D, D, 2).double()
    covariance = torch.einsum("nikp,njkp->nijp", root, root)
    mean = torch.randn(N, D, 2).double()
    answer = MultivariateGaussianPrediction.of(mean=mean, covariance=covariance)
    torch.testing.assert_close(answer.covariance, covariance)
    torch.testing.assert_close(answer.mean, mean)
    with pytest.raises(ValueError, match="`covariance` has 1 matrices that are not positive"):
        MultivariateGaussianPrediction.of(mean=[[0.0, 0.0]], covariance=[[[1.0, 2.0], [2.0, 1.0]]])
    with pytest.raises(ValueError, match="`covariance` has shape"):
        MultivariateGaussianPrediction.of(mean=[[0.0, 0.0]], covariance=[[1.0, 2.0]])


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_ellipsoids_hold_their_share(level: float) -> None:
    answer = made(members=1)[:1]
    found = answer.ellipsoid(level)
    drawn = answer.sample(2000, seed=0)[:, 0]
    share = float(torch.stack([found.contains(y[None])[0] for y in drawn]).double().mean())
    assert share == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 2000))
    gap = (drawn[0] - answer.mean[0]).numpy()
    distance = np.sqrt(gap @ answer.covariance[0].inverse().numpy() @ gap)
    reach = np.sqrt(scipy.stats.chi2.ppf(level, D))
    assert float(found.distances(drawn[:1])) == pytest.approx(distance / reach, rel=1e-9)
    with pytest.raises(ValueError, match="`level` is 1"):
        answer.ellipsoid(1)


def test_ellipses_are_drawn() -> None:
    answer = MultivariateGaussianPrediction.of(
        mean=[[0.0, 1.0]] * 2, covariance=[[[4.0, 1.0], [1.0, 2.0]]] * 2
    )
    ax = answer.ellipsoid(0.9).plot([[0.0, 1.0]] * 2)
    line, *_ = ax.get_lines()
    points = np.stack(line.get_data(), axis=1)
    inside = answer[:1].ellipsoid(0.9).distances
    np.testing.assert_allclose([float(inside([each])) for each in points], 1.0)
    with pytest.raises(ValueError, match=r"`center` has shape \(4, 3\), expected \(N, 2\)"):
        made().ellipsoid().plot()


def test_draws_are_together_and_follow_a_seed() -> None:
    answer = made()
    drawn = answer.sample(2000, seed=1)
    assert torch.equal(drawn, answer.sample(2000, seed=1))
    covariance = torch.stack([torch.cov(drawn[:, row].T) for row in range(N)])
    torch.testing.assert_close(covariance, answer.covariance, rtol=0.2, atol=0.2)


def test_energy_score_is_the_crps_of_one_number_and_rewards_covariances() -> None:
    alone = MultivariateGaussianPrediction.of(mean=[[0.5]], covariance=[[[2.0]]])
    y = torch.tensor([[1.5]])
    assert float(alone.energy_score(y, 4000)) == pytest.approx(float(alone.crps(y)), rel=0.08)
    tight = torch.tensor([[1.0, 0.95], [0.95, 1.0]]).double()
    right = MultivariateGaussianPrediction.of(
        mean=torch.zeros(500, 2), covariance=tight.expand(500, 2, 2)
    )
    wrong = MultivariateGaussianPrediction.of(
        mean=torch.zeros(500, 2), covariance=torch.eye(2).expand(500, 2, 2)
    )
    y = right.sample(1, seed=3)[0]
    assert float(right.energy_score(y, 200).mean()) < float(wrong.energy_score(y, 200).mean())


@pytest.mark.parametrize("rank", RANKS)
def test_files_rows_and_joins_hold_the_same(rank: int | None, tmp_path: Path) -> None:
    answer = made(rank).with_joint(True)
    moved = answer.with_epistemic(torch.zeros(N, D))
    torch.testing.assert_close(moved.aleatoric, answer.variance)
    with pytest.raises(TypeError, match="take `covariance` for both parts"):
        moved.epistemic_covariance  # noqa: B018
    for each in (answer, moved):
        back = load_prediction(each.save(tmp_path / "answer"))
        joined = type(each).concatenate([each[:1], each[1:]])
        for other in (back, joined):
            assert other.rank == rank
            assert other.joint
            assert all(np.array_equal(a, other.numpy()[name]) for name, a in each.numpy().items())
    assert answer.said_shape == (D,)
    assert answer.to("cpu", torch.float32).covariance.dtype == torch.float32


def test_positions_are_predicted_alone() -> None:
    places = [made(seed=seed) for seed in range(2)]
    whole = MultivariateGaussianPrediction(torch.stack([each.draws for each in places], 3))
    y: Tensor = torch.randn(N, D, 2).double()
    for place, alone in enumerate(places):
        torch.testing.assert_close(whole.covariance[..., place], alone.covariance)
        found = whole.joint_log_prob(y)[:, place]
        torch.testing.assert_close(found, alone.joint_log_prob(y[..., place]))
        inside = whole.ellipsoid().distances(y)[:, place]
        torch.testing.assert_close(inside, alone.ellipsoid().distances(y[..., place]))
        some = whole.sample(1, seed=0)
        assert some.shape == (1, N, D, 2)


def test_what_is_none_is_told() -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 2, 7\).*D means, D scales and D \(D - 1\)"):
        MultivariateGaussianPrediction(torch.ones(1, 2, 7))
    with pytest.raises(ValueError, match="`scale` holds 0"):
        MultivariateGaussianPrediction(torch.zeros(1, 2, 5))
