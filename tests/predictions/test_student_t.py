"""Student t predictions, against scipy, in the Gaussian limit, and as mixtures."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from duda import GaussianPrediction, NormalInverseGamma, StudentTPrediction


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
