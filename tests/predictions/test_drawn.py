"""Mixtures of draws by their parameters: each law against scipy, and what holds for all of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.integrate import quad
from torch import Tensor

from duda import load_prediction
from duda.predictions import (
    PREDICTIONS,
    AffinePrediction,
    BetaPrediction,
    DrawnPrediction,
    LogNormalPrediction,
)


class Family(NamedTuple):
    kind: type[DrawnPrediction]
    law: Callable[..., Any]  # of scipy
    parameters: tuple[Callable[[Tensor], Tensor], ...]  # from uniform numbers


FAMILIES = {
    "beta": Family(
        BetaPrediction, scipy.stats.beta, (lambda u: 0.3 + 3 * u, lambda u: 0.5 + 9 * u)
    ),
    "log-normal": Family(
        LogNormalPrediction,
        lambda m, s: scipy.stats.lognorm(s, scale=np.exp(m)),
        (lambda u: 2 * u - 1, lambda u: 0.2 + u),
    ),
}
M, N, D = 3, 4, 2


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


def made(family: Family, *, members: int = M, seed: int = 0) -> DrawnPrediction:
    g = torch.Generator().manual_seed(seed)
    values = [f(torch.rand(members, N, D, generator=g).double()) for f in family.parameters]
    return family.kind(torch.cat(values, 2))


def laws(family: Family, answer: DrawnPrediction) -> list[Any]:
    """Return scipy's law of each draw."""
    parts = answer.draws.chunk(len(family.parameters), 2)
    return [family.law(*(part[m].numpy() for part in parts)) for m in range(len(answer.draws))]


def targets(family: Family, answer: DrawnPrediction, q: float) -> np.ndarray:
    return laws(family, answer)[0].ppf(q)


@pytest.mark.parametrize("q", [0.01, 0.5, 0.97])
def test_each_law_is_that_of_scipy(family: Family, q: float) -> None:
    answer = made(family, members=1)
    [law] = laws(family, answer)
    y = targets(family, answer, q)
    np.testing.assert_allclose(answer.cdf(y), law.cdf(y), rtol=1e-9)
    np.testing.assert_allclose(answer.log_prob(y), law.logpdf(y), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(answer.quantile(q), y, rtol=1e-8)
    np.testing.assert_allclose(answer.mean, law.mean(), rtol=1e-9)
    np.testing.assert_allclose(answer.variance, law.var(), rtol=1e-9)
    assert not answer.epistemic.any()


def test_a_mixture_is_the_mean_of_its_draws(family: Family) -> None:
    answer = made(family)
    each, y = laws(family, answer), targets(family, answer, 0.3)
    np.testing.assert_allclose(answer.cdf(y), np.mean([law.cdf(y) for law in each], 0), rtol=1e-9)
    density = np.mean([law.pdf(y) for law in each], 0)
    np.testing.assert_allclose(answer.log_prob(y).exp(), density, rtol=1e-8)
    np.testing.assert_allclose(answer.mean, np.mean([law.mean() for law in each], 0), rtol=1e-9)
    means = np.array([law.mean() for law in each])
    np.testing.assert_allclose(answer.epistemic, means.var(0), rtol=1e-8)
    second = np.mean([law.var() + law.mean() ** 2 for law in each], 0)
    np.testing.assert_allclose(answer.std**2, second - means.mean(0) ** 2, rtol=1e-8)
    parts = answer.components()
    assert len(parts) == M
    for part, logs, law in zip(parts, answer.log_likelihoods(y), each, strict=True):
        np.testing.assert_allclose(part.cdf(y), law.cdf(y), rtol=1e-9)
        np.testing.assert_allclose(logs, law.logpdf(y), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("q", [1e-4, 0.5, 0.9])
def test_quantiles_of_a_mixture_invert_its_cdf(family: Family, q: float) -> None:
    answer = made(family)
    found = answer.quantile(q)
    torch.testing.assert_close(answer.cdf(found), torch.full((N, D), q).double())


def test_crps_is_the_integral_that_defines_it(family: Family) -> None:
    answer = made(family)
    for place in (0.05, 0.6):
        y = targets(family, answer, place)
        found = answer.crps(y)
        for n, d in itertools.product(range(N), range(D)):
            one = laws(family, answer[n])
            expected = integrated(one, d, float(y[n, d]))
            assert float(found[n, d]) == pytest.approx(expected, rel=1e-5)


def integrated(each: list[Any], d: int, y: float) -> float:
    """Return the integral of (F(x) - [x >= y])²."""

    def below(x: float) -> float:
        return float(np.mean([law.cdf(x)[0, d] for law in each]))

    ends = np.array([[law.ppf(q)[0, d] for q in (1e-10, 0.5, 1 - 1e-10)] for law in each])
    points = sorted({*ends.flatten().tolist(), y})
    return sum(
        quad(lambda x, low=low: (below(x) - (low >= y)) ** 2, low, high, limit=200)[0]
        for low, high in itertools.pairwise(points)
    )


def test_samples_have_the_law(family: Family) -> None:
    answer = made(family)[:1]
    drawn = answer.sample(5000, seed=0)
    assert torch.equal(drawn, answer.sample(5000, seed=0))
    for d in range(D):
        pit = torch.stack([answer.cdf(row)[0] for row in drawn.unbind(0)])[:, d]
        assert scipy.stats.kstest(pit.numpy(), "uniform").pvalue > 1e-4


def test_files_rows_and_joins_hold_the_same(family: Family, tmp_path: Path) -> None:
    answer = made(family).with_joint(True)
    moved = answer.with_epistemic(torch.zeros(N, D))
    assert not moved.epistemic.any()
    torch.testing.assert_close(moved.aleatoric, answer.variance)
    for each in (answer, moved):
        back = load_prediction(each.save(tmp_path / "answer"))
        joined = type(each).concatenate([each[:1], each[1:]])
        for other in (back, joined):
            assert type(other) is family.kind
            assert other.joint
            assert all(np.array_equal(a, other.numpy()[name]) for name, a in each.numpy().items())
    assert PREDICTIONS[family.kind.__name__] is family.kind
    assert answer.said_shape == (D,)
    assert answer.outputs == "2 outputs"
    assert answer.to("cpu", torch.float32).score.dtype == torch.float32


def test_positions_are_predicted_alone(family: Family) -> None:
    places = [made(family, seed=seed) for seed in range(3)]
    answer = family.kind(torch.stack([each.draws for each in places], -1))
    y = np.stack([targets(family, each, 0.4) for each in places], -1)
    for ask in ("cdf", "log_prob", "crps"):
        alone = torch.stack(
            [getattr(each, ask)(y[..., k]) for k, each in enumerate(places)], dim=-1
        )
        torch.testing.assert_close(getattr(answer, ask)(y), alone)
    quantiles = torch.stack([each.quantile(0.3) for each in places], dim=-1)
    torch.testing.assert_close(answer.quantile(0.3), quantiles)


def test_other_units(family: Family) -> None:
    answer, y = made(family), targets(family, made(family), 0.7)
    for factor, offset in ((3.0, 0.0), (2.0, 5.0)):
        moved, there = answer.rescaled(factor=factor, offset=offset), offset + factor * y
        torch.testing.assert_close(moved.quantile(0.2), offset + factor * answer.quantile(0.2))
        torch.testing.assert_close(moved.cdf(there), answer.cdf(y))
        torch.testing.assert_close(moved.log_prob(there), answer.log_prob(y) - math.log(factor))
        torch.testing.assert_close(moved.crps(there), factor * answer.crps(y), rtol=1e-6, atol=0)
        torch.testing.assert_close(moved.std, factor * answer.std)


def test_a_law_keeps_its_family_where_it_can() -> None:
    answer = made(FAMILIES["log-normal"])
    assert type(answer.rescaled(factor=2.0)) is LogNormalPrediction
    assert type(answer.rescaled(factor=2.0, offset=1.0)) is AffinePrediction


def test_bad_parameters_are_told(family: Family) -> None:
    with pytest.raises(ValueError, match=r"`draws` has shape .*expected \(M, N, \d D"):
        family.kind(torch.ones(1, 2, 2 * len(family.parameters) + 1))
    with pytest.raises(ValueError, match="NaN"):
        family.kind(torch.full((1, 2, len(family.parameters)), torch.nan))
    with pytest.raises(ValueError, match=r"`\w+` holds -1, expected numbers above 0"):
        family.kind(torch.full((1, 2, len(family.parameters)), -1.0))
    with pytest.raises(TypeError, match="the parameters are missing, expected"):
        family.kind.of()


def test_crps_of_many_members_takes_few_distribution_functions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted, of_one = [], LogNormalPrediction.member_cdf

    def watched(_: object, y: Tensor, *parameters: Tensor) -> Tensor:
        found = of_one(y, *parameters)
        counted.append(found.numel())
        return found

    monkeypatch.setattr(LogNormalPrediction, "member_cdf", classmethod(watched))
    answer = made(FAMILIES["log-normal"], members=50)
    answer.crps(answer.mean)
    assert sum(counted) <= 400 * 50 * N * D  # by 400 quantiles of 60 halvings: 60 times as many
