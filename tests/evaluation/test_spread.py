import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from duda.evaluation import sharpness, spread

ROWS = st.lists(st.tuples(st.integers(1, 6), st.integers(-4, 4)), min_size=1, max_size=20)


@settings(max_examples=50)
@given(ROWS, st.integers(1, 5), st.sampled_from(["uniform", "quantile"]))
def test_bins_by_hand(rows, bins, binning):
    std, error = np.array(rows, dtype=float).T
    found = spread(std, error, bins=bins, binning=binning)
    assert int(found.counts.sum()) == len(rows)
    ratios = []
    edges = found.edges.tolist()
    for place, (low, high) in enumerate(itertools.pairwise(edges)):
        last = place == len(edges) - 2
        inside = (low <= std) & ((std < high) | (last & (std == high)))
        assert int(found.counts[place]) == inside.sum()
        if inside.any():
            rmv, rmse = (math.sqrt((v[inside] ** 2).mean()) for v in (std, error))
            assert float(found.promised[place]) == pytest.approx(rmv)
            assert float(found.observed[place]) == pytest.approx(rmse)
            ratios.append(abs(rmv - rmse) / rmv)
    assert found.ence == pytest.approx(np.mean(ratios))
    order = np.random.default_rng(0).permutation(len(rows))
    again = spread(std[order], error[order], bins=bins, binning=binning)
    assert again.ence == pytest.approx(found.ence, rel=1e-12)


def test_bins_of_equal_counts():
    std = torch.rand(1000).square()
    found = spread(std, std, bins=10, binning="quantile")
    assert found.counts.tolist() == pytest.approx([100] * 10, abs=1)
    assert found.ence == pytest.approx(0.0, abs=1e-12)


def test_empty_bins_have_no_part():
    found = spread([1.0, 1.0, 3.0], [2.0, 2.0, 3.0], bins=4)
    assert found.counts.tolist() == [2, 0, 0, 1]
    assert found.promised.isnan().tolist() == [False, True, True, False]
    assert found.ence == pytest.approx(0.5)


def test_one_standard_deviation_is_one_bin():
    for binning in ("uniform", "quantile"):
        found = spread([2.0, 2.0], [1.0, 1.0], binning=binning)
        assert found.counts.tolist() == [2]
        assert found.ence == pytest.approx(0.5)


def test_a_promise_of_no_error():
    assert spread([0.0, 0.0], [0.0, 0.0]).ence == 0.0
    assert spread([0.0, 0.0], [0.0, 1.0]).ence == math.inf


def test_a_true_model_has_little():
    std = torch.rand(50_000) + 0.1
    error = std * torch.randn(50_000)
    assert spread(std, error, binning="quantile").ence < 0.03
    assert spread(std, 2 * error, binning="quantile").ence == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spread([-1.0], [0.0]), "`std` holds -1"),
        (lambda: spread([1.0], [math.nan]), "`error` has 1 NaN"),
        (lambda: spread([1.0], [0.0, 0.0]), r"`error` has shape \(2,\)"),
        (lambda: spread([], []), "is empty"),
        (lambda: spread([1.0], [0.0], bins=0), "`bins` is 0"),
        (lambda: spread([1.0, 2.0], [0.0, 0.0], binning="width"), "`binning` is 'width'"),
        (lambda: spread([1.0, 1.0], [0.0, 0.0], binning="width"), "`binning` is 'width'"),
        (lambda: sharpness([math.nan]), "`std` has 1 NaN"),
        (lambda: sharpness([-1.0]), "`std` holds -1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
