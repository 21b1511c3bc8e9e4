import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import mean_pinball_loss

from duda import GaussianPrediction, QuantilePrediction
from duda.evaluation import (
    coverage,
    interval_coverage,
    interval_score,
    interval_width,
    pinball,
    pinball_of_quantiles,
    rmse,
)

NUMBERS = st.floats(-5, 5)


def quantiles(levels, rows=400, outputs=2):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(rows, len(levels), outputs, generator=generator, dtype=torch.float64)
    return QuantilePrediction(values.sort(dim=1).values, levels)


def test_pinball_of_sklearn():
    levels, y = [0.1, 0.5, 0.8], torch.randn(400, 2, dtype=torch.float64)
    answer = quantiles(levels)
    expected = [
        mean_pinball_loss(y, answer.quantiles[:, place], alpha=level)
        for place, level in enumerate(levels)
    ]
    assert pinball(answer, y) == pytest.approx(np.mean(expected), rel=1e-12)
    assert pinball(answer, y, [0.1]) == pytest.approx(expected[0], rel=1e-12)
    assert rmse(answer.median, y) == rmse(answer.quantiles[:, 1], y)
    losses = pinball_of_quantiles(answer.quantiles, levels, y)
    np.testing.assert_allclose(losses.mean((0, 2)), expected, rtol=1e-12)


def test_quantiles_at_the_ends_of_a_normal_distribution_give_half_its_crps():
    levels = [(2 * k + 1) / 400 for k in range(200)]
    row = torch.tensor(stats.norm.ppf(levels)).view(1, -1, 1)
    # The CRPS of N(0, 1) at 0.3 in closed form (Gneiting & Raftery 2007, eq. 21).
    crps = 0.3 * (2 * stats.norm.cdf(0.3) - 1) + 2 * stats.norm.pdf(0.3) - 1 / math.sqrt(math.pi)
    found = 2 * pinball(QuantilePrediction(row, levels), [[0.3]])
    assert found == pytest.approx(crps, rel=5e-3)
    same = 2 * pinball(GaussianPrediction([[0.0]], [[1.0]]), [[0.3]], levels)
    assert same == pytest.approx(found, rel=1e-12)


def test_pinball_of_what_is_masked_out():
    levels, y = [0.1, 0.5, 0.8], torch.randn(400, 2, dtype=torch.float64)
    mask = torch.rand(400, 2) > 0.5
    answer = quantiles(levels)
    expected = pinball_of_quantiles(answer.quantiles, levels, y).mean(1)[mask].mean()
    y[~mask] = math.nan
    assert pinball(answer, y, mask=mask) == pytest.approx(float(expected), rel=1e-12)


@given(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=9), st.floats(0.1, 0.9))
def test_the_interval_score_is_the_pinball_loss_of_its_ends(rows, level):
    # Gneiting & Raftery 2007, section 6.2
    first, second, y = np.array(rows).T
    lower, upper = np.minimum(first, second), np.maximum(first, second)
    alpha = 1 - level
    losses = [
        mean_pinball_loss(y, lower, alpha=alpha / 2),
        mean_pinball_loss(y, upper, alpha=1 - alpha / 2),
    ]
    found = interval_score(lower, upper, y, level)
    assert found == pytest.approx(2 / alpha * sum(losses), rel=1e-9, abs=1e-9)


def test_the_true_interval_scores_best():
    y = torch.randn(100_000, dtype=torch.float64)
    true = stats.norm.ppf(0.95)
    score = {
        end: interval_score(torch.full_like(y, -end), torch.full_like(y, end), y, 0.9)
        for end in (0.8 * true, true, 1.2 * true)
    }
    assert min(score, key=score.get) == true


def test_arrays_and_predictions_agree():
    answer = GaussianPrediction(torch.randn(50, 2), torch.rand(50, 2))
    y = torch.randn(50, 2)
    lower, upper = answer.interval(0.8)
    share = float(coverage(answer, y, [0.8]).observed)
    assert interval_coverage(lower, upper, y) == share


def test_infinite_ends_hold_all():
    assert interval_coverage([-math.inf], [math.inf], [3.0]) == 1.0
    assert interval_width([0.0], [math.inf]) == math.inf
    assert interval_score([-math.inf], [math.inf], [3.0], 0.9) == math.inf


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: interval_coverage([1.0], [0.0], [0.5]), "`lower` is above `upper` in 1 of 1"),
        (lambda: interval_coverage([0.0], [math.nan], [0.5]), "`upper` has 1 NaN"),
        (lambda: interval_coverage([0.0], [1.0], [math.inf]), "`y` has 0 NaN and 1 infinite"),
        (lambda: interval_coverage([0.0], [1.0], [0.5, 0.5]), r"`y` has shape \(2,\)"),
        (lambda: interval_width([], []), "is empty"),
        (lambda: interval_width([0.0], [[1.0]]), r"upper.squeeze\(1\)"),
        (lambda: interval_width([0.0, math.inf], [1.0, math.inf]), "same infinity in 1 of 2"),
        (lambda: interval_score([-math.inf], [-math.inf], [0.0], 0.9), "same infinity in 1 of 1"),
        (lambda: interval_width([0j], [1.0]), "`lower` has dtype torch.complex"),
        (lambda: interval_score([0.0], [1.0], [0.5], 95), "`level` is 95"),
        (lambda: interval_score([0.0], [1.0], [math.nan], 0.9), "`y` has 1 NaN"),
        (lambda: pinball_of_quantiles([[0.0]], [1.5], [0.0]), "`levels` is"),
        (lambda: pinball_of_quantiles([0.0], [0.5], [0.0]), r"expected \(1, 1\)"),
        (lambda: pinball_of_quantiles([[math.nan]], [0.5], [0.0]), "`quantiles` has 1 NaN"),
        (lambda: pinball(quantiles([0.1, 0.9]), torch.zeros(400)), r"expected \(400, 2\)"),
        (lambda: pinball(quantiles([0.1, 0.9]), torch.full((400, 2), math.nan)), "800 NaN"),
        (lambda: pinball(quantiles([0.1, 0.9]), torch.zeros(400, 2), [0.95]), "outermost levels"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_density_has_no_quantiles_of_its_own():
    with pytest.raises(TypeError, match="`levels` is missing"):
        pinball(GaussianPrediction([[0.0]], [[1.0]]), [[0.0]])
