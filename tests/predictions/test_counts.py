"""Predictions of counts: each law against scipy, sums against brute force, PIT and coverage."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from duda import evaluation, load_prediction
from duda.decisions import ConformalRegressor, QuantileRecalibration, StdScale
from duda.predictions import CountPrediction, NegativeBinomialPrediction, PoissonPrediction


class Family(NamedTuple):
    kind: type[CountPrediction]
    law: Callable[..., Any]  # of scipy
    parameters: tuple[Callable[[Tensor], Tensor], ...]  # from uniform numbers


FAMILIES = {
    "poisson": Family(PoissonPrediction, scipy.stats.poisson, (lambda u: (6 * u - 2).exp(),)),
    "negative-binomial": Family(
        NegativeBinomialPrediction,
        lambda m, a: scipy.stats.nbinom(1 / a, 1 / (1 + a * m)),
        (lambda u: (6 * u - 2).exp(), lambda u: (9 * u - 7).exp()),
    ),
}
M, N, D = 3, 4, 2


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


def made(family: Family, *, members: int = M, rows: int = N, seed: int = 0) -> CountPrediction:
    g = torch.Generator().manual_seed(seed)
    values = [f(torch.rand(members, rows, D, generator=g).double()) for f in family.parameters]
    return family.kind(torch.cat(values, 2))


def laws(family: Family, answer: CountPrediction) -> list[Any]:
    """Return scipy's law of each draw."""
    parts = answer.draws.chunk(len(family.parameters), 2)
    return [family.law(*(part[m].numpy() for part in parts)) for m in range(len(answer.draws))]


def drawn(answer: CountPrediction, seed: int) -> Tensor:
    return answer.sample(1, seed=seed)[0]


def test_each_law_is_that_of_scipy(family: Family) -> None:
    answer = made(family, members=1)
    [law] = laws(family, answer)
    for y in (0, 1, 7, 60):
        np.testing.assert_allclose(answer.cdf(np.full((N, D), y)), law.cdf(y), rtol=1e-9)
        np.testing.assert_allclose(answer.log_prob(np.full((N, D), y)), law.logpmf(y), rtol=1e-8)
    np.testing.assert_allclose(answer.mean, law.mean(), rtol=1e-9)
    np.testing.assert_allclose(answer.variance, law.var(), rtol=1e-9)
    for q in (1e-6, 0.03, 0.5, 0.975, 1 - 1e-9):
        np.testing.assert_array_equal(answer.quantile(q), law.ppf(q))


def test_a_mixture_is_the_mean_of_its_draws(family: Family) -> None:
    answer = made(family)
    each = laws(family, answer)
    for y in (0, 4, 30):
        at = torch.full((N, D), float(y))
        np.testing.assert_allclose(answer.cdf(at), np.mean([law.cdf(y) for law in each], 0))
        mass = np.mean([law.pmf(y) for law in each], 0)
        np.testing.assert_allclose(answer.log_prob(at).exp(), mass, rtol=1e-8)
    means = np.array([law.mean() for law in each])
    np.testing.assert_allclose(answer.epistemic, means.var(0), rtol=1e-8)
    second = np.mean([law.var() + law.mean() ** 2 for law in each], 0)
    np.testing.assert_allclose(answer.variance, second - means.mean(0) ** 2, rtol=1e-8)


@pytest.mark.parametrize("name", FAMILIES)
@given(q=st.floats(1e-6, 1 - 1e-6), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_a_quantile_is_the_first_count_that_reaches_it(name: str, q: float, seed: int) -> None:
    answer = made(FAMILIES[name], seed=seed)
    found = answer.quantile(q)
    assert bool((found == found.floor()).all())
    assert bool((answer.cdf(found) >= q).all())
    assert bool((answer.cdf(found - 1) < q).all())


@pytest.mark.parametrize(
    "answer",
    [
        PoissonPrediction([[[0.01]]]),
        PoissonPrediction([[[3.0]], [[4.0]]]),
        PoissonPrediction([[[1.0]], [[100.0]], [[3000.0]]]),
        PoissonPrediction([[[1e5]]]),
        NegativeBinomialPrediction([[[0.3, 1e-6]]]),
        NegativeBinomialPrediction([[[5.0, 50.0]]]),
        NegativeBinomialPrediction([[[1000.0, 3.0]], [[20.0, 0.1]]]),
    ],
    ids=str,
)
def test_crps_is_the_sum_that_defines_it(answer: CountPrediction) -> None:
    answer = type(answer)(answer.draws.view(len(answer.draws), 1, -1))
    most = int(answer.mean + 80 * answer.std + 300)
    counts = torch.arange(most).double()
    below = torch.stack([member.cdf(counts[None, :, None])[0, :, 0] for member in wide(answer)])
    for y in (0.0, 2.0, 150.0):
        expected = float((below.mean(0) - (counts >= y).double()).square().sum())
        assert float(answer.crps([[y]])) == pytest.approx(expected, rel=1e-6)
    # What is no count is as far away as it is.
    low, high, between = (float(answer.crps([[y]])) for y in (1.0, 2.0, 1.75))
    share = float(answer.cdf([[1.0]]))
    assert between == pytest.approx(low + 0.75 * (high - low), rel=1e-9), share
    assert float(answer.crps([[-3.0]])) == pytest.approx(float(answer.crps([[0.0]])) + 3)


def wide(answer: CountPrediction) -> list[Any]:
    """Return each draw, with one law for all targets."""

    class One(NamedTuple):
        draw: Tensor

        def cdf(self, y: Tensor) -> Tensor:
            shape = y.shape[1:2]
            parts = [p.expand(1, *shape, 1) for p in self.draw[None].chunk(len(kind.parameters), 2)]
            return kind.member_cdf(y, *parts)

    kind = type(answer)
    return [One(draw) for draw in answer.draws]


def test_closed_form_of_poissons_crps() -> None:
    """(y - λ)(2F(y) - 1) + 2λ p(y) - λ e^(-2λ) (I₀(2λ) + I₁(2λ)). Source: Wei & Held 2014."""
    from scipy.special import ive

    rate, y = np.array([[0.2, 4.0, 70.0]]), np.array([[1.0, 2.0, 90.0]])
    law = scipy.stats.poisson(rate)
    expected = (y - rate) * (2 * law.cdf(y) - 1) + 2 * rate * law.pmf(y)
    expected = expected - rate * (ive(0, 2 * rate) + ive(1, 2 * rate))
    np.testing.assert_allclose(PoissonPrediction.of(rate=rate).crps(y), expected, rtol=1e-6)


def test_what_is_no_count_has_no_probability(family: Family) -> None:
    answer = made(family)[:1]
    for y in (-1.0, 0.5, math.inf):
        at = torch.full((1, D), y)
        assert bool((answer.log_prob(at) == -math.inf).all())
    assert not answer.cdf(torch.full((1, D), -0.5)).any()
    assert bool((answer.cdf(torch.full((1, D), math.inf)) == 1).all())
    assert torch.equal(answer.cdf([[2.9, 2.9]]), answer.cdf([[2.0, 2.0]]))


def test_pit_is_uniform_and_intervals_hold_what_they_promise(family: Family) -> None:
    answer = made(family, rows=3000)
    y = drawn(answer, seed=1)
    values = answer.pit(y, torch.Generator().manual_seed(0)).flatten()
    assert scipy.stats.kstest(values.numpy(), "uniform").pvalue > 1e-3
    found = evaluation.pit(answer, y)
    assert torch.equal(found.counts, evaluation.pit(answer, y, seed=0).counts)
    assert not torch.equal(found.counts, evaluation.pit(answer, y, seed=1).counts)
    assert found.coverage.mean_error < 0.02
    asked = torch.tensor([0.1, 0.5, 0.9])
    held = evaluation.coverage(answer, y, asked)
    assert bool((held.observed > asked - 0.01).all())
    assert bool((held.levels > asked).all())
    assert held.max_error < 0.02  # beside what these intervals promise
    assert held.p_value() > 1e-3


def test_batches_draw_anew() -> None:
    answer = PoissonPrediction(torch.full((1, 400, 1), 0.3))
    y = drawn(answer, seed=0)
    metric = evaluation.streaming.StreamingPit(bins=10)
    for part in range(0, 400, 100):
        metric.update(answer[part : part + 100], y[part : part + 100])
    assert float(metric.compute()) < 0.05


def test_recalibration_moves_levels_and_refuses_to_stretch(family: Family) -> None:
    answer = made(family, rows=2000)
    y = drawn(answer, seed=2)
    moved = QuantileRecalibration([0.1, 0.5, 0.9]).fit(answer, y)
    for level, wanted in zip(moved._moved(0), (0.1, 0.5, 0.9), strict=True):
        assert level == pytest.approx(wanted, abs=0.05)
    assert bool((moved(answer).quantiles % 1 == 0).all())
    with pytest.raises(TypeError, match=r"has no `affine`.* or call `QuantileRecalibration`"):
        StdScale().fit(answer, y)
    with pytest.raises(TypeError, match="has no `affine`"):
        answer.rescaled(factor=2.0)
    assert not answer.can("affine")


def test_conformal_intervals_hold_counts(family: Family) -> None:
    answer = made(family, rows=2000)
    y = drawn(answer, seed=3)
    answer, y = type(answer)(answer.draws[:, :, ::D]), y[:, :1]
    for score in ("cqr", "normalized"):
        regressor = ConformalRegressor(alpha=0.1, score=score).fit(answer[:1000], y[:1000])
        ends = regressor(answer[1000:])
        held = (ends.lower <= y[1000:]) & (y[1000:] <= ends.upper)
        assert float(held.double().mean()) > 0.87


def test_files_rows_and_joins_hold_the_same(family: Family, tmp_path: Path) -> None:
    answer = made(family).with_joint(True)
    back = load_prediction(answer.save(tmp_path / "answer"))
    joined = type(answer).concatenate([answer[:1], answer[1:]])
    for other in (back, joined):
        assert type(other) is family.kind
        assert other.joint
        assert torch.equal(other.draws, answer.draws)
    assert torch.equal(answer.sample(5, seed=0), answer.sample(5, seed=0))
    assert answer.to("cpu", torch.float32).score.dtype == torch.float32


def test_bad_parameters_are_told(family: Family) -> None:
    with pytest.raises(ValueError, match=r"`\w+` holds -1, expected numbers above 0"):
        family.kind(torch.full((1, 2, len(family.parameters)), -1.0))
    with pytest.raises(TypeError, match="the parameters are missing, expected"):
        family.kind.of()


def test_a_small_dispersion_is_poissons() -> None:
    poisson = PoissonPrediction.of(rate=[[4.0]])
    for dispersion in (1e-6, 1e-12):
        answer = NegativeBinomialPrediction.of(mean=[[4.0]], dispersion=[[dispersion]])
        for y in (0.0, 5.0, 30.0):
            for ask in ("cdf", "log_prob", "crps"):
                one, other = (getattr(each, ask)([[y]]) for each in (answer, poisson))
                torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)
