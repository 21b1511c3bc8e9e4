"""Chances of counts are those of the exact distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from duda.reporting.chance import p_value_of_count


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.data())
def test_it_is_that_of_adding_one_event_after_the_other(probs, data):
    count = data.draw(st.integers(0, len(probs)))
    pmf = np.ones(1)
    for prob in probs:
        pmf = np.convolve(pmf, [1 - prob, prob])
    expected = min(1.0, 2 * min(pmf[: count + 1].sum(), pmf[count:].sum()))
    found = p_value_of_count(torch.tensor(probs, dtype=torch.float64), count)
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("of", "prob", "count"),
    [(20_000, 0.9999, 19_990), (20_000, 0.0001, 9), (3000, 0.99, 2950), (500, 0.5, 270)],
)
def test_it_is_that_of_the_binomial_distribution(of, prob, count):
    exact = binom(of, prob)
    expected = min(1.0, 2 * min(exact.cdf(count), exact.sf(count - 1)))
    found = p_value_of_count(torch.full((of,), prob, dtype=torch.float64), count)
    assert found == pytest.approx(expected, rel=0.01)
