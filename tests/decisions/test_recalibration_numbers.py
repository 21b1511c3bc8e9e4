"""The scale of standard deviations, and the recalibration of quantiles."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from duda import Gaussian, GaussianPrediction, LaplacianPrediction, QuantilePrediction
from duda.decisions import QuantileRecalibration, StdScale
from tests.decisions.learned import learned

numbers = st.floats(-5, 5)
rows = st.lists(st.tuples(numbers, st.floats(0.1, 5), numbers), min_size=1, max_size=30)


def overconfident(n=500, outputs=1, seed=0):
    """Means and variances that are four times too small for the targets."""
    rng = np.random.default_rng(seed)
    mean = rng.normal(size=(n, outputs))
    std = rng.uniform(0.5, 2, size=(n, outputs))
    return GaussianPrediction(mean, std**2), mean + 2 * std * rng.normal(size=(n, outputs))


@settings(max_examples=50)
@given(rows)
def test_scale_of_scipy(rows):
    mean, std, y = map(np.array, zip(*rows, strict=True))
    if np.abs(y - mean).max() < 0.01:
        return
    scale = float(StdScale().fit(mean, y, std=std).scale)

    def loss(log_scale):
        return -norm.logpdf(y, mean, std * math.exp(log_scale)).mean()

    expected = minimize_scalar(loss, bounds=(-12, 8), method="bounded", options={"xatol": 1e-10})
    assert loss(math.log(scale)) <= expected.fun + 1e-9
    assert loss(math.log(scale)) <= loss(0) + 1e-9


def test_each_output_has_its_own_scale():
    answer, y = overconfident(2000, outputs=2)
    y[:, 1] = (y[:, 1] + 3 * answer.mean[:, 1].numpy()) / 4
    found = StdScale().fit(answer, y)
    np.testing.assert_allclose(found.scale, [2, 0.5], rtol=0.05)
    torch.testing.assert_close(found(answer).std, answer.std * found.scale)


def test_parts_of_the_variance_stay_in_proportion():
    answer, y = overconfident()
    answer = GaussianPrediction(answer.mean, 0.75 * answer.variance, 0.25 * answer.variance)
    scaled = StdScale().fit(answer, y)(answer)
    torch.testing.assert_close(scaled.variance, scaled.aleatoric + scaled.epistemic)
    torch.testing.assert_close(scaled.epistemic, 0.25 * scaled.variance)


def test_draws_are_stretched_about_their_mean():
    draws = torch.randn(4, 30, 2, dtype=torch.float64)
    answer = Gaussian().reduce(draws, keep_draws=True)
    scaling = StdScale().fit(answer, torch.randn(30, 1))
    found = scaling(answer)
    means, variances = found.draws.chunk(2, dim=2)
    torch.testing.assert_close(means.mean(0), found.mean)
    torch.testing.assert_close(variances.mean(0), found.aleatoric)
    torch.testing.assert_close(means.var(0, unbiased=False), found.epistemic)
    stretched = answer.mean + scaling.scale * (answer.quantile(0.9) - answer.mean)
    torch.testing.assert_close(found.quantile(0.9), stretched)


def test_scale_1_changes_nothing():
    answer, _ = overconfident(20)
    unchanged = learned(StdScale(), outputs=1, scale=torch.ones(1).double())(answer)
    assert torch.equal(unchanged.variance, answer.variance)


def test_positions_share_the_scale_of_their_output():
    mean = torch.randn(5, 2, 3, 4)
    y = mean + torch.randn(5, 2, 3, 4)
    found = StdScale().fit(mean, y, std=torch.ones(5, 2, 3, 4))
    expected = (y - mean).double().square().mean((0, 2, 3)).sqrt()
    torch.testing.assert_close(found.scale, expected)
    torch.testing.assert_close(found(mean, std=torch.ones(5, 2, 3, 4)).std[1, :, 2, 1], expected)


def test_another_family_stays_what_it_is():
    answer = LaplacianPrediction(torch.zeros(100, 1), torch.ones(100, 1))
    found = StdScale().fit(answer, 3 * torch.randn(100, 1))(answer)
    assert isinstance(found, LaplacianPrediction)
    assert found.std.dtype == torch.float64  # a mean may be large beside it


def test_quantiles_of_the_held_out_examples_come_true():
    answer, y = overconfident(999)
    levels = (0.1, 0.3, 0.5, 0.9)
    found = QuantileRecalibration(levels).fit(answer, y)(answer)
    assert isinstance(found, QuantilePrediction)
    assert found.levels.tolist() == list(levels)
    below = [(torch.tensor(y) <= found.quantile(q) + 1e-9).double().mean() for q in levels]
    np.testing.assert_allclose(below, [round(1000 * q) / 999 for q in levels], atol=1e-9)


def test_held_out_coverage_comes_near_the_promise():
    fitted = QuantileRecalibration().fit(*overconfident(2000))
    answer, y = overconfident(2000, seed=1)
    y = torch.tensor(y)
    for q in (0.05, 0.25, 0.75, 0.95):
        raw = float((y <= answer.quantile(q)).double().mean())
        moved = float((y <= fitted(answer).quantile(q)).double().mean())
        assert abs(moved - q) < 0.03 < abs(raw - q)


def test_quantiles_of_two_outputs_one_by_one():
    answer, y = overconfident(200, outputs=2)
    y[:, 1] += 1
    both = QuantileRecalibration().fit(answer, y)(answer)
    for output in (0, 1):
        one = GaussianPrediction(answer.mean[:, output, None], answer.variance[:, output, None])
        alone = QuantileRecalibration().fit(one, y[:, output, None])(one)
        torch.testing.assert_close(both.quantiles[:, :, output], alone.quantiles[:, :, 0])


def test_a_calibrated_model_stays_as_it_is():
    n = 1999
    pit = np.random.default_rng(0).permutation(np.arange(1, n + 1) / (n + 1))
    answer = GaussianPrediction(torch.zeros(n, 1).double(), torch.ones(n, 1))
    found = QuantileRecalibration((0.025, 0.5, 0.975)).fit(answer, norm.ppf(pit)[:, None])
    quantiles = found(answer).quantiles[0, :, 0]
    np.testing.assert_allclose(quantiles, norm.ppf([0.025, 0.5, 0.975]), atol=1e-6)


def test_order_and_ties_mean_nothing():
    y = np.array([-1.0, 0.0, 0.0, 0.0, 1.0])
    zeros, ones = np.zeros(5), np.ones(5)
    one = QuantileRecalibration().fit(zeros, y, std=ones)
    other = QuantileRecalibration().fit(zeros, y[::-1].copy(), std=ones)
    assert torch.equal(one.knots, other.knots)
    # three tied targets lie at the mean of their shares, 2 / 6, 3 / 6 and 4 / 6
    np.testing.assert_allclose(one.knots[:, 2], [0, 1 / 6, 0.5, 5 / 6, 1])


def test_quantiles_that_are_not_there():
    y = np.r_[np.zeros(10), np.full(10, 100.0)]
    fitted = QuantileRecalibration().fit(np.zeros(20), y, std=np.ones(20))
    with pytest.raises(ValueError, match=r"`levels` asks for 0\.75, but so many"):
        fitted([0.0], std=[1.0])


@pytest.mark.parametrize("kind", [StdScale, QuantileRecalibration])
def test_wrapped_model(kind):
    answer, y = overconfident(50)

    class Model:
        def predict(self, x, *, samples):
            return answer[x][: 2 * samples]

    fitted = kind().fit(answer, y)
    found = fitted.wrap(Model()).predict([3, 1, 2], samples=1)
    assert torch.equal(found.score, fitted(answer[[3, 1]]).score)


@pytest.mark.parametrize("kind", [StdScale, QuantileRecalibration])
@pytest.mark.parametrize(
    ("mean", "y", "std", "message"),
    [
        ([math.nan], [0.0], [1.0], "`mean` has 1 NaN"),
        ([0.0], [math.nan], [1.0], "`y` has 1 NaN"),
        ([0.0], [math.inf], [1.0], "`y` has 0 NaN and 1 infinite"),
        ([0.0], [0.0], [0.0], "`std` has 1 of 1 values at 0 or below"),
        ([0.0], [0.0], [-1.0], "`std` holds -1, expected standard deviations of at least 0"),
        ([], [], [], "`mean` .* is empty"),
        ([0.0, 1.0], [0.0, 1.0], [1.0], r"`std` has shape \(1,\), expected \(2,\)"),
        ([0.0, 1.0], [[0.0], [1.0]], [1.0, 1.0], r"`y.squeeze\(1\)`"),
    ],
)
def test_bad_input(kind, mean, y, std, message):
    with pytest.raises(ValueError, match=message):
        kind().fit(mean, y, std=std)


@pytest.mark.parametrize("kind", [StdScale, QuantileRecalibration])
def test_what_is_missing_or_too_much(kind):
    answer, y = overconfident(5)
    with pytest.raises(TypeError, match="`std` is missing beside a list"):
        kind().fit([0.0], [1.0])
    with pytest.raises(TypeError, match="`std` comes with the GaussianPrediction already"):
        kind().fit(answer, y, std=answer.std)
    with pytest.raises(TypeError, match="`y` is missing"):
        kind().fit(answer)
    lacking = {StdScale: "mean", QuantileRecalibration: "cdf"}[kind]
    with pytest.raises(TypeError, match=f"a QuantilePrediction has no `{lacking}`, which this"):
        kind().fit(QuantilePrediction([[[0.0], [1.0]]], [0.1, 0.9]), [[0.0]])
    with pytest.raises(ValueError, match="have 1 outputs, expected 2, as `fit` saw"):
        kind().fit(*overconfident(5, outputs=2))(answer)


def test_no_errors_to_scale_by():
    with pytest.raises(ValueError, match="`y` equals the mean in all examples of output 0"):
        StdScale().fit([1.0, 2.0], [1.0, 2.0], std=[1.0, 1.0])


@pytest.mark.parametrize("levels", [(0.5,), (0.9, 0.1), (0.1, 1.0), ()])
def test_bad_levels(levels):
    with pytest.raises(ValueError, match="`levels` is"):
        QuantileRecalibration(levels)


def test_far_targets_of_a_float32_prediction_keep_their_order():
    answer = GaussianPrediction(torch.zeros(3, 1), torch.ones(3, 1))
    fitted = QuantileRecalibration().fit(answer, [[6.0], [7.0], [8.0]])
    assert len(fitted.knots) == 5  # in float32 all three have the cdf 1
