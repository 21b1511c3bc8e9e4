"""Intervals of numbers."""

import math

import numpy as np
import pytest
import torch

from duda import GaussianPrediction, QuantilePrediction
from duda.decisions import ConformalRegressor


def targets(n=300, outputs=2, seed=0):
    rng = np.random.default_rng(seed)
    mean, std = rng.normal(size=(n, outputs)), rng.uniform(0.5, 2, size=(n, outputs))
    return GaussianPrediction(mean, std**2), mean + 2 * std * rng.normal(size=(n, outputs))


def rank_of(scores, alpha=0.1):
    return np.sort(scores, axis=0)[math.ceil((len(scores) + 1) * (1 - alpha)) - 1]


def test_absolute_residuals_by_hand():
    answer, y = targets()
    threshold = rank_of(np.abs(y - answer.mean.numpy()))
    found = ConformalRegressor(score="absolute").fit(answer, y)(answer)
    np.testing.assert_allclose(found.lower, answer.mean - torch.tensor(threshold))
    np.testing.assert_allclose(found.upper, answer.mean + torch.tensor(threshold))


def test_normalised_residuals_by_hand():
    answer, y = targets()
    mean, std = answer.mean.numpy(), answer.std.numpy()
    threshold = rank_of(np.abs(y - mean) / std)
    found = ConformalRegressor().fit(answer, y)(answer)
    np.testing.assert_allclose(found.lower, mean - threshold * std)
    np.testing.assert_allclose(found.upper, mean + threshold * std)


def test_quantile_regression_by_hand():
    answer, y = targets()
    quantiles = torch.stack([answer.quantile(q) for q in (0.05, 0.5, 0.95)], dim=1)
    lower, upper = quantiles[:, 0].numpy(), quantiles[:, 2].numpy()
    threshold = rank_of(np.maximum(lower - y, y - upper))
    by_quantiles = QuantilePrediction(quantiles, [0.05, 0.5, 0.95])
    found = ConformalRegressor(score="cqr").fit(by_quantiles, y)(by_quantiles)
    np.testing.assert_allclose(found.lower, lower - threshold)
    np.testing.assert_allclose(found.upper, upper + threshold)
    by_gaussian = ConformalRegressor(score="cqr").fit(answer, y)(answer)
    torch.testing.assert_close(by_gaussian.lower, found.lower)
    by_arrays = ConformalRegressor(score="cqr").fit(lower=lower, upper=upper, y=y)
    torch.testing.assert_close(by_arrays(lower=lower, upper=upper).upper, found.upper)


def test_quantile_regression_narrows_what_was_too_wide():
    y = np.linspace(-1, 1, 99)
    conformal = ConformalRegressor(score="cqr").fit(
        lower=np.full(99, -9), upper=np.full(99, 9), y=y
    )
    found = conformal(lower=[-9.0, 7.0], upper=[9.0, 7.5])
    assert found.widths[0] == pytest.approx(2 * rank_of(np.abs(y)))
    assert found.widths[1] == 0
    assert found.contains([0.0, 7.2]).tolist() == [True, False]


def test_arrays_and_predictions_agree():
    answer, y = targets(outputs=1)
    mean, std = answer.mean[:, 0].numpy(), answer.std[:, 0].numpy()
    for score, given in (("absolute", {}), ("normalized", {"std": std})):
        one = ConformalRegressor(score=score).fit(answer, y)(answer)
        two = ConformalRegressor(score=score).fit(mean, y[:, 0], **given)(mean, **given)
        assert two.lower.shape == (300,)
        torch.testing.assert_close(one.lower[:, 0], two.lower)


def test_the_median_is_the_centre_of_quantiles():
    answer = QuantilePrediction([[[0.0], [1.0], [5.0]]] * 3, [0.1, 0.5, 0.9])
    found = ConformalRegressor(0.25, "absolute").fit(answer, [[1.0], [2.0], [3.0]])(answer)
    assert found.lower[0].item() == -1
    assert found.upper[0].item() == 3


def test_intervals_are_infinite_when_there_are_too_few():
    answer, y = targets(8)
    found = ConformalRegressor().fit(answer, y)(answer)
    assert (found.lower == -math.inf).all()
    assert (found.upper == math.inf).all()
    assert found.coverage(y) == 1
    summary = found.summary(y)
    assert summary.by_width.counts.sum() == 16
    assert summary.mean_width == math.inf


def test_ends_belong_to_the_interval():
    found = ConformalRegressor(0.5, "absolute").fit([0.0], [2.0])([1.0])
    assert found.coverage([3.0]) == found.coverage([-1.0]) == 1
    assert found.coverage([3.01]) == 0


def test_summary():
    answer, y = targets(1000)
    fitted = ConformalRegressor().fit(*targets(500, seed=1))
    found = fitted(answer)
    summary = found.summary(y)
    inside = ((found.lower.numpy() <= y) & (y <= found.upper.numpy())).sum(0)
    assert summary.guaranteed.hits.tolist() == inside.tolist()
    assert summary.guaranteed.calibration.tolist() == [500, 500]
    assert summary.by_width.counts.tolist() == [500, 500, 500, 500]
    assert summary.by_width.hits.sum() == inside.sum()
    assert summary.mean_width == pytest.approx(float(found.widths.mean()))
    low, high = summary.guaranteed.band(0.9999)
    assert ((low <= summary.guaranteed.observed) & (summary.guaranteed.observed <= high)).all()
    text = str(summary)
    assert "guaranteed at least 0.9, calibrated on 500 examples" in text
    assert " most       500" in text
    assert summary.plot().get_xlabel() == "quarter of intervals, from 0 (narrow) to 3 (wide)"


def test_intervals_of_one_width_are_one_group():
    fitted = ConformalRegressor(score="absolute").fit([0.0] * 20, np.arange(20.0))
    summary = fitted([0.0] * 8).summary([0.0] * 8)
    assert summary.by_width.counts.tolist() == [8, 0, 0, 0]


@pytest.mark.parametrize(
    ("score", "given", "message"),
    [
        ("absolute", {"mean": [math.nan], "y": [0.0]}, "`mean` has 1 NaN"),
        ("absolute", {"mean": [0.0], "y": [math.nan]}, "`y` has 1 NaN"),
        ("absolute", {"mean": [], "y": []}, "`mean` .* is empty"),
        ("absolute", {"mean": [0.0], "y": [[0.0]]}, r"`y.squeeze\(1\)`"),
        ("absolute", {"mean": np.zeros((2, 1, 3)), "y": np.zeros((2, 1, 3))}, "positions of one"),
        ("normalized", {"mean": [0.0], "y": [0.0], "std": [0.0]}, "`std` has 1 of 1 values at 0"),
        ("normalized", {"mean": [0.0], "y": [0.0], "std": [1.0, 1.0]}, "`std` has shape"),
        ("cqr", {"lower": [1.0], "upper": [0.0], "y": [0.0]}, "`lower` is above `upper` in 1 of 1"),
        ("cqr", {"lower": [1.0], "upper": [2.0, 3.0], "y": [0.0]}, "`upper` has shape"),
    ],
)
def test_bad_input(score, given, message):
    with pytest.raises(ValueError, match=message):
        ConformalRegressor(score=score).fit(**given)


@pytest.mark.parametrize(
    ("score", "given", "message"),
    [
        ("normalized", {"mean": [0.0], "y": [0.0]}, "got `mean`, expected .* `mean` and `std`"),
        ("absolute", {"mean": [0.0], "std": [1.0], "y": [0.0]}, "got `mean` and `std`"),
        ("cqr", {"mean": [0.0], "y": [0.0]}, "arrays `lower` and `upper`"),
        ("cqr", {"y": [0.0]}, "got nothing"),
        ("absolute", {"mean": [0.0]}, "`y` is missing"),
    ],
)
def test_what_is_missing_or_too_much(score, given, message):
    with pytest.raises(TypeError, match=message):
        ConformalRegressor(score=score).fit(**given)


def test_quantiles_have_no_std():
    answer = QuantilePrediction([[[0.0], [1.0]]], [0.1, 0.9])
    with pytest.raises(TypeError, match="a QuantilePrediction, which has no std: choose 'cqr'"):
        ConformalRegressor().fit(answer, [[0.0]])
    with pytest.raises(ValueError, match="the widest that `levels` allow"):
        ConformalRegressor(score="cqr").fit(answer, [[0.0]])


def test_other_width_and_not_fitted():
    answer, y = targets()
    with pytest.raises(ValueError, match="this ConformalRegressor is not fitted"):
        ConformalRegressor()(answer)
    fitted = ConformalRegressor().fit(answer, y)
    with pytest.raises(ValueError, match="have 1 outputs, expected 2, as `fit` saw"):
        fitted([0.0], std=[1.0])
    with pytest.raises(ValueError, match=r"`y` has shape \(300,\)"):
        fitted(answer).coverage(y[:, 0])


def test_unknown_score():
    with pytest.raises(ValueError, match="unknown score 'normalised': did you mean 'normalized'"):
        ConformalRegressor(score="normalised")
