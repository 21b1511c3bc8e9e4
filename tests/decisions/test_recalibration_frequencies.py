"""Isotonic regression, histogram binning and Beta calibration, against other libraries."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression

from duda.decisions import BetaCalibration, HistogramBinning, Isotonic
from tests.decisions.learned import learned
from tests.decisions.test_recalibration import nll, overconfident

grid = st.sampled_from([k / 20 for k in range(1, 20)])
points = st.lists(st.tuples(grid, st.integers(0, 1)), min_size=1, max_size=40)


def binary(p):
    p = np.asarray(p, dtype=float)
    return np.stack([1 - p, p], axis=1)


def softmax(logits):
    return torch.tensor(logits).softmax(1).numpy()


@settings(max_examples=60)
@given(points, st.lists(grid, min_size=1))
def test_isotonic_of_sklearn(points, query):
    p, y = map(np.array, zip(*points, strict=True))
    assume(0 < y.mean() < 1)
    expected = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(p, y).predict(query)
    found = Isotonic().fit(binary(p), y)(binary(query))
    np.testing.assert_allclose(found[:, 1], expected, atol=1e-12)


def test_isotonic_of_several_classes():
    logits, y = overconfident()
    probs = softmax(logits)
    each = [
        IsotonicRegression(y_min=0, y_max=1).fit(probs[:, k], y == k).predict(probs[:, k])
        for k in range(3)
    ]
    expected = np.stack(each, axis=1)
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(Isotonic().fit(probs, y)(probs), expected, atol=1e-12)


def test_zeros_and_ones_stay():
    found = Isotonic().fit(binary([0.2, 0.4, 0.6, 0.8]), [0, 0, 1, 1])
    assert found(binary([0.1, 0.9])).tolist() == [[1, 0], [0, 1]]


def test_no_class_left_means_all_alike():
    probs = [[0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.3, 0.2, 0.5], [0.4, 0.35, 0.25]]
    found = Isotonic().fit(probs, [0, 1, 2, 0])
    nowhere = found([[0.3, 0.35, 0.35]])
    assert found.knots[:, 2].min() == 0
    np.testing.assert_allclose(nowhere.sum(), 1)
    probs = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]]
    nothing = HistogramBinning(bins=2).fit(probs, [1, 2, 0])
    np.testing.assert_allclose(nothing([[0.8, 0.1, 0.1]]), [[0, 0.5, 0.5]])
    np.testing.assert_allclose(nothing([[0.5, 0.5, 0.0]]), [[0, 0, 1]])


@settings(max_examples=60)
@given(points, st.integers(1, 6))
def test_histogram_binning_by_hand(points, bins):
    p, y = map(np.array, zip(*points, strict=True))
    assume(0 < y.mean() < 1)
    found = HistogramBinning(bins).fit(binary(p), y)(binary(p))[:, 1]
    index = np.searchsorted(np.arange(1, bins) / bins, p, side="right")
    expected = [y[index == each].mean() for each in index]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_empty_bins_change_nothing():
    found = HistogramBinning(bins=4).fit(binary([0.1, 0.2]), [0, 1])
    np.testing.assert_allclose(found(binary([0.1, 0.6]))[:, 1], [0.5, 0.6])


def test_bins_with_equally_many():
    p = np.random.default_rng(0).beta(1, 20, size=1000)
    y = np.random.default_rng(1).uniform(size=1000) < p
    found = HistogramBinning(bins=10, binning="quantile").fit(binary(p), y.astype(int))
    index = np.searchsorted(found.edges[0, 1:-1].numpy(), p, side="right")
    assert np.bincount(index).tolist() == [100] * 10
    expected = np.bincount(index, y) / 100
    np.testing.assert_allclose(found.frequencies[0], expected)


def test_ties_are_never_split():
    found = HistogramBinning(bins=5, binning="quantile").fit(binary([0.3] * 10), [0, 1] * 5)
    assert found(binary([0.3]))[0, 1] == 0.5


@pytest.mark.parametrize("options", [{"bins": 0}, {"bins": 2.5}, {"binning": "equal"}])
def test_bad_bins(options):
    with pytest.raises(ValueError, match=r"`(bins|binning)` is"):
        HistogramBinning(**options)


def odds_loss(p, y):
    features = np.stack([np.log(p), -np.log1p(-p), np.ones_like(p)], axis=1)
    return lambda parameters: (
        np.logaddexp(0, features @ parameters) - y * (features @ parameters)
    ).mean()


@pytest.mark.parametrize("seed", range(5))
def test_beta_of_scipy(seed):
    logits, y = overconfident(300, classes=2, seed=seed)
    p = softmax(logits)[:, 1]
    loss = odds_loss(p, y)
    bounds = [(0, None), (0, None), (None, None)]
    expected = minimize(loss, [1, 1, 0], bounds=bounds, method="SLSQP", tol=1e-12)
    found = BetaCalibration().fit(binary(p), y).parameters[0].numpy()
    assert (found[:2] >= 0).all()
    assert loss(found) <= expected.fun + 1e-9
    np.testing.assert_allclose(found, expected.x, atol=1e-3)


def test_beta_keeps_order_even_where_the_labels_do_not():
    p = np.linspace(0.05, 0.95, 19)
    y = (p < 0.5).astype(int)
    y[[0, -1]] = 0, 1
    found = BetaCalibration().fit(binary(p), y)
    assert found.parameters[0, :2].tolist() == [0, 0]
    np.testing.assert_allclose(found(binary(p))[:, 1], y.mean(), atol=1e-6)


def test_beta_is_never_worse_than_before():
    logits, y = overconfident(300, classes=2)
    probs = softmax(logits)
    assert nll(BetaCalibration().fit(probs, y)(probs), y) < nll(probs, y)


def test_beta_of_several_classes():
    logits, y = overconfident()
    probs = softmax(logits)
    each = [BetaCalibration().fit(binary(probs[:, k]), (y == k).astype(int)) for k in range(3)]
    expected = np.stack([f(binary(probs[:, k]))[:, 1] for k, f in enumerate(each)], axis=1)
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(BetaCalibration().fit(probs, y)(probs), expected, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_parameters_that_change_nothing(classes):
    parameters = torch.tensor([[1.0, 1.0, 0.0]] * (1 if classes == 2 else classes)).double()
    unchanged = learned(BetaCalibration(), classes=classes, parameters=parameters)
    logits = np.random.default_rng(0).normal(size=(20, classes)) * 30
    expected = torch.tensor(logits).softmax(1)
    # in relative terms, so that the digits of 1e-40 count
    torch.testing.assert_close(unchanged(logits=logits), expected, rtol=1e-9, atol=0)


def test_what_beta_cannot_fit():
    with pytest.raises(ValueError, match="`y` has no example of class"):
        BetaCalibration().fit(binary([0.2, 0.7]), [0, 0])
    with pytest.raises(ValueError, match="`probs` holds 1 that are 0 or 1"):
        BetaCalibration().fit(binary([0.0, 0.7]), [0, 1])
    with pytest.warns(UserWarning, match="BetaCalibration gets every held-out label right"):
        BetaCalibration().fit(binary([0.2, 0.7]), [0, 1])
