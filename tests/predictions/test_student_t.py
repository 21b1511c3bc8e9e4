"""Student t predictions, against scipy, in the Gaussian limit, and as mixtures."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from duda import GaussianPrediction, NormalInverseGamma, NumberPrediction, StudentTPrediction
from duda.predictions.student_distances import mixture_crps_of_t


def made(df: float, scale: float = 2.0, mean: float = 1.0) -> StudentTPrediction:
    variance = scale**2 * df / (df - 2)
    return StudentTPrediction([[mean]], [[variance]], df=[[df]])


@given(df=st.floats(2.001, 200), y=st.floats(-50, 50), q=st.floats(0.001, 0.999))
def test_all_functions_are_those_of_scipy(df: float, y: float, q: float) -> None:
    answer, law = made(df), scipy.stats.t(df, 1.0, 2.0)
    assert float(answer.log_prob([[y]])) == pytest.approx(law.logpdf(y), rel=1e-8, abs=1e-8)
    assert float(answer.cdf([[y]])) == pytest.approx(law.cdf(y), rel=1e-8)
    assert float(answer.quantile(q)) == pytest.approx(law.ppf(q), rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("df", [2.5, 4.0, 30.0])
@pytest.mark.parametrize("y", [-9.0, 1.0, 3.5])
def test_crps_is_the_integral_that_defines_it(df: float, y: float) -> None:
    law = scipy.stats.t(df, 1.0, 2.0)
    below = quad(lambda x: law.cdf(x) ** 2, -np.inf, y, limit=200)[0]
    above = quad(lambda x: law.sf(x) ** 2, y, np.inf, limit=200)[0]
    answer = made(df)
    assert float(answer.crps([[y]])) == pytest.approx(below + above, rel=1e-5)
    # The way of families without a closed form, from quantiles alone.
    numerical = super(type(answer).__base__, answer).crps([[y]])
    assert float(numerical) == pytest.approx(below + above, rel=5e-3)


def test_many_degrees_of_freedom_are_a_gaussian() -> None:
    y = [[0.3]]
    t, normal = made(1e7, mean=0.0), GaussianPrediction([[0.0]], [[4.0]])
    for ask in ("log_prob", "cdf", "crps"):
        assert float(getattr(t, ask)(y)) == pytest.approx(float(getattr(normal, ask)(y)), rel=1e-5)


def test_a_mixture_is_exact_where_draws_were_kept() -> None:
    draws = torch.randn(5, 3, 4, dtype=torch.float64)
    answer = NormalInverseGamma().reduce(draws, keep_draws=True)
    y = torch.randn(3, 1, dtype=torch.float64)
    each = torch.stack([member.cdf(y) for member in answer.components()])
    torch.testing.assert_close(answer.cdf(y), each.mean(0))
    densities = torch.stack([member.log_prob(y).exp() for member in answer.components()])
    torch.testing.assert_close(answer.log_prob(y), densities.mean(0).log())
    torch.testing.assert_close(answer.cdf(answer.quantile(0.3)), torch.full_like(y, 0.3))


def test_changing_units_changes_all_alike() -> None:
    answer = NormalInverseGamma().reduce(torch.randn(5, 3, 4).double(), keep_draws=True)
    moved, y = answer.rescaled(factor=3.0, offset=-1.0), torch.randn(3, 1).double()
    torch.testing.assert_close(moved.quantile(0.2), 3 * answer.quantile(0.2) - 1)
    torch.testing.assert_close(moved.cdf(3 * y - 1), answer.cdf(y))
    torch.testing.assert_close(moved.log_prob(3 * y - 1), answer.log_prob(y) - np.log(3))


def test_samples_have_the_law() -> None:
    drawn = made(5.0).sample(20_000, seed=0).flatten().numpy()
    assert scipy.stats.kstest(drawn, scipy.stats.t(5.0, 1.0, 2.0).cdf).pvalue > 1e-3
    assert (made(5.0).sample(3, seed=1) == made(5.0).sample(3, seed=1)).all()


def test_too_few_degrees_of_freedom_are_told() -> None:
    with pytest.raises(ValueError, match=r"`df` holds 2, expected degrees of freedom above 2"):
        StudentTPrediction([[0.0]], [[1.0]], df=[[2.0]])
    with pytest.raises(ValueError, match="`df` has shape"):
        StudentTPrediction([[0.0]], [[1.0]], df=[3.0, 3.0])


def mixture_of_t(df: tuple[float, ...], std: tuple[float, ...]) -> StudentTPrediction:
    g = torch.Generator().manual_seed(len(df))
    mean = torch.randn(len(df), 4, 1, generator=g, dtype=torch.float64)
    variance = torch.tensor(std, dtype=torch.float64).square().view(-1, 1, 1).expand(mean.shape)
    degrees = torch.tensor(df, dtype=torch.float64).view(-1, 1, 1).expand(mean.shape)
    return StudentTPrediction(
        mean.mean(0),
        variance.mean(0),
        mean.var(0, correction=0),
        torch.cat([mean, variance, degrees], 2),
        df=degrees.mean(0),
    )


@pytest.mark.parametrize(
    ("df", "std", "tolerance"),
    [
        ((3.0, 4.0, 9.0), (1.0, 0.5, 2.0), 1e-6),
        ((2.05, 2.5), (1.0, 2.0), 2e-4),
        ((50.0, 1e6), (1.0, 1e-3), 1e-7),
        ((3.0, 5.0, 7.0), (1.0, 0.0, 0.0), 1e-7),
    ],
)
def test_crps_of_a_mixture_is_the_integral(
    df: tuple[float, ...], std: tuple[float, ...], tolerance: float
) -> None:
    answer = mixture_of_t(df, std)
    y = torch.linspace(-2, 2, 4, dtype=torch.float64).unsqueeze(1)
    found = answer.crps(y)
    for row in range(4):
        expected = integrated(answer[row], float(y[row]))
        assert float(found[row]) == pytest.approx(expected, rel=tolerance)
    if min(std) > 0:  # near the integral over quantiles, which is slow
        torch.testing.assert_close(found, NumberPrediction.crps(answer, y), rtol=3e-3, atol=0)


def integrated(answer: StudentTPrediction, y: float) -> float:
    """Return the integral of (F(x) - [x >= y])²."""
    assert answer.draws is not None
    mean, variance, df = answer.draws[:, 0].t().numpy()
    scale = np.sqrt(variance * (df - 2) / df)

    def squared(x: float) -> float:
        with np.errstate(divide="ignore", invalid="ignore"):
            below = scipy.stats.t.cdf((x - mean) / scale, df)
        return float((np.where(scale > 0, below, x >= mean).mean() - (x >= y)) ** 2)

    inner = sorted({*mean, *(mean - 9 * scale), *(mean + 9 * scale), y})
    ends = [-np.inf, inner[0] - 1e3, inner[0] - 30, *inner, inner[-1] + 30, inner[-1] + 1e3, np.inf]
    parts = (quad(squared, *each, limit=400, epsabs=1e-12)[0] for each in itertools.pairwise(ends))
    return sum(parts)


def test_crps_of_a_mixture_of_near_normals_is_that_of_normals() -> None:
    answer = mixture_of_t((1e9, 1e9, 1e9), (1.0, 0.5, 2.0))
    assert answer.draws is not None
    normal = GaussianPrediction(
        answer.mean, answer.aleatoric, answer.epistemic, answer.draws[:, :, :2]
    )
    y = torch.linspace(-2, 2, 4).unsqueeze(1)
    torch.testing.assert_close(answer.crps(y), normal.crps(y), rtol=1e-7, atol=0)


def test_crps_of_a_mixture_takes_few_distribution_functions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answer, counted = mixture_of_t((3.0, 4.0, 9.0, 5.0, 6.0), (1.0, 0.5, 2.0, 1.0, 3.0)), []
    of_scipy = scipy.special.stdtr
    monkeypatch.setattr(
        scipy.special, "stdtr", lambda df, z: counted.append(z.size) or of_scipy(df, z)
    )
    answer.crps(answer.mean)
    assert sum(counted) <= 500 * len(answer)  # 400 quantiles of 60 halvings: 120,000


def test_crps_of_many_members_is_that_of_their_pairs() -> None:
    df, std = tuple(2.1 + 0.3 * k for k in range(12)), tuple(0.2 + 0.2 * k for k in range(12))
    answer = mixture_of_t(df, std)
    y = torch.linspace(-3, 3, 4, dtype=torch.float64).unsqueeze(1)
    mean, each, degrees = answer._members()
    parts = (mean, each * ((degrees - 2) / degrees).sqrt(), degrees)
    expected = mixture_crps_of_t(
        parts, y, lambda z, nu: torch.as_tensor(scipy.special.stdtr(nu.numpy(), z.numpy()))
    )
    torch.testing.assert_close(answer.crps(y), expected, rtol=1e-4, atol=0)
