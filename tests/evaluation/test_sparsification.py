import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from duda.evaluation import sparsification


def rest(errors):
    """Return the mean of what is left, error by error."""
    return [np.mean(errors[k:]) for k in range(len(errors))]


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), min_size=2, max_size=5).filter(
        lambda rows: any(error for _, error in rows)
    )
)
def test_ties_are_the_mean_over_all_orders(rows):
    found = sparsification(*np.array(rows, dtype=float).T)
    curves = []
    for order in itertools.permutations(rows):
        ordered = sorted(order, key=lambda row: -row[0])
        curves.append(rest([error for _, error in ordered]))
    np.testing.assert_allclose(found.by_score, np.mean(curves, axis=0), rtol=0, atol=1e-9)
    oracle = rest(sorted((error for _, error in rows), reverse=True))
    np.testing.assert_allclose(found.by_error, oracle, rtol=0, atol=1e-9)
    expected = np.mean(found.by_score.numpy() - found.by_error.numpy()) / oracle[0]
    assert found.ause == pytest.approx(expected, abs=1e-12)
    assert found.ause >= -1e-12


def test_the_oracle_leaves_no_area():
    error = torch.rand(100)
    assert sparsification(error, error).ause == pytest.approx(0.0, abs=1e-12)
    assert sparsification(error.square(), 3 * error).ause == pytest.approx(0.0, abs=1e-12)


def test_all_tied_is_the_line_at_random():
    error = torch.rand(100, dtype=torch.float64)
    found = sparsification(torch.zeros(100), error)
    np.testing.assert_allclose(found.by_score, float(error.mean()))
    worst = sparsification(-error, error)
    assert worst.ause > found.ause > 0


def test_infinite_scores_come_first():
    found = sparsification([0.1, math.inf], [1.0, 3.0])
    assert found.by_score.tolist() == [2.0, 1.0]


def test_any_shape():
    score, error = torch.rand(2, 1, 3, 3), torch.rand(2, 1, 3, 3)
    flat = sparsification(score.flatten(), error.flatten())
    assert sparsification(score, error).ause == flat.ause


@pytest.mark.parametrize(
    ("score", "error", "message"),
    [
        ([0.1, 0.2], [1.0, -1.0], r"`error` holds -1, .* call `error.abs\(\)`"),
        ([0.1, 0.2], [0.0, 0.0], "`error` is 0 everywhere"),
        ([0.1, math.nan], [0.0, 1.0], "`score` has 1 NaN"),
        ([0.1, 0.2], [0.0, math.inf], "`error` has 0 NaN and 1 infinite"),
        ([0.1, 0.2], [1.0], r"`error` has shape \(1,\)"),
        ([], [], "is empty"),
    ],
)
def test_bad_input(score, error, message):
    with pytest.raises(ValueError, match=message):
        sparsification(score, error)
