import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from duda import GaussianPrediction
from duda.decisions import benjamini_hochberg, conformal_p_values

numbers = st.lists(st.integers(-3, 3).map(float) | st.floats(-5, 5), min_size=1, max_size=30)


@given(numbers, numbers)
def test_brute_force(score, calibration):
    known = np.array(calibration)
    expected = [(1 + (known >= value).sum()) / (len(known) + 1) for value in score]
    assert conformal_p_values(score, calibration).tolist() == expected


@given(numbers)
def test_uniform_or_above(calibration):
    # left out one at a time, the p-values of n exchangeable scores are at most u in u n cases
    together = np.array(calibration)
    left_out = [
        float(conformal_p_values([value], np.delete(together, i))[0]) if len(together) > 1 else 1.0
        for i, value in enumerate(together)
    ]
    for level in (0.1, 0.25, 0.5, 0.9):
        assert np.mean(np.array(left_out) <= level) <= level + 1e-12


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50), st.sampled_from([0.01, 0.1, 0.5]))
def test_adjusted_p_values_of_scipy(p_values, level):
    adjusted = false_discovery_control(p_values)
    clear = np.abs(adjusted - level) > 1e-9
    found = benjamini_hochberg(p_values, level).numpy()
    assert (found == (adjusted <= level))[clear].all()


def test_the_largest_that_is_small_enough_takes_all_below_along():
    assert benjamini_hochberg([0.04, 0.045, 0.05], 0.05).all()
    assert not benjamini_hochberg([0.02, 0.9, 0.9], 0.05).any()
    assert benjamini_hochberg([[0.0], [1.0]], 0.05).tolist() == [[True], [False]]


def test_predictions_are_compared_by_their_scores():
    answer = GaussianPrediction(torch.zeros(4, 1), torch.tensor([[1.0], [4.0], [9.0], [16.0]]))
    expected = conformal_p_values([[2.0], [3.0]], [1.0, 4.0])
    assert torch.equal(conformal_p_values(answer[1:3], answer[[0, 3]]), expected)
    assert benjamini_hochberg([0.05], np.float32(0.05)).all()


def test_infinite_scores():
    assert conformal_p_values([math.inf, -math.inf], [0.0]).tolist() == [0.5, 1.0]
    assert conformal_p_values([math.inf], [math.inf]).tolist() == [1.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: conformal_p_values([0.1], []), "`calibration` .* is empty"),
        (lambda: conformal_p_values([math.nan], [0.1]), "`score` has 1 NaN"),
        (lambda: benjamini_hochberg([0.5], 1.0), "`level` is 1.0"),
        (lambda: benjamini_hochberg([1.5], 0.1), "`p_values` lies in"),
        (lambda: benjamini_hochberg([math.nan], 0.1), "`p_values` has 1 NaN"),
        (lambda: benjamini_hochberg(torch.empty(0), 0.1), "is empty"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
