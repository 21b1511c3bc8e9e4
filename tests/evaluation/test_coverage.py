import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from duda import GaussianPrediction, LaplacianPrediction, QuantilePrediction
from duda.evaluation import Coverage, coverage, density_nll

LEVELS = [0.05, 0.5, 0.9]


def column(values):
    return torch.tensor(values, dtype=torch.float64).unsqueeze(1)


def gaussian(mean, std):
    return GaussianPrediction(column(mean), column(std).square())


def test_share_of_scipy_and_netcal():
    # scipy 1.17.1 and netcal 1.4.0
    answer = gaussian([0.0, 1.0, 2.0, 3.0], [1.0, 0.5, 2.0, 1.0])
    found = coverage(answer, column([0.5, 1.2, -1.0, 3.0]), levels=[0.9])
    assert found.observed.tolist() == [1.0]


def test_both_ends_belong_to_the_interval():
    answer = gaussian([0.3, 0.3], [1.7, 1.7])
    lower, upper = answer.interval(0.8)
    ends = torch.stack([lower[0], upper[1]])
    assert coverage(answer, ends, levels=[0.8]).observed.tolist() == [1.0]
    beyond = torch.stack(
        [lower[0].nextafter(torch.tensor(-9.0)), upper[1].nextafter(torch.tensor(9.0))]
    )
    assert coverage(answer, beyond, levels=[0.8]).observed.tolist() == [0.0]


def test_an_interval_without_width():
    answer = gaussian([1.0, 1.0], [0.0, 0.0])
    assert coverage(answer, [[1.0], [1.1]], levels=[0.5]).observed.tolist() == [0.5]


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-5, 5), st.floats(0.1, 3), st.floats(-9, 9)), min_size=1, max_size=20
    )
)
def test_scipy(rows):
    mean, std, y = (np.array(part) for part in zip(*rows, strict=True))
    found = coverage(gaussian(mean.tolist(), std.tolist()), y[:, None], LEVELS)
    for level, observed in zip(LEVELS, found.observed.tolist(), strict=True):
        lower, upper = stats.norm.interval(level, mean, std)
        slack = 1e-9
        least = ((lower + slack <= y) & (y <= upper - slack)).mean()
        most = ((lower - slack <= y) & (y <= upper + slack)).mean()
        assert least <= observed <= most
    assert found.observed.diff().min() >= 0


def test_a_true_model_keeps_its_promises():
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(20_000, 2, generator=generator)
    std = torch.rand(20_000, 2, generator=generator) + 0.1
    y = mean + std * torch.randn(20_000, 2, generator=generator)
    found = coverage(GaussianPrediction(mean, std.square()), y)
    assert found.levels.tolist() == [percent / 100 for percent in range(5, 100, 5)]
    assert found.mean_error < 0.01
    sure = coverage(GaussianPrediction(mean, (std / 2).square()), y)
    assert bool((sure.observed < sure.levels).all())
    assert sure.mean_error > 0.1
    cautious = coverage(GaussianPrediction(mean, (2 * std).square()), y)
    assert bool((cautious.observed > cautious.levels).all())


def test_mean_error():
    found = coverage(gaussian([0.0], [1.0]), [[0.0]], levels=[0.2, 0.6])
    assert found.mean_error == pytest.approx((0.8 + 0.4) / 2)


def test_errors_over_levels():
    found = Coverage(torch.tensor([0.2, 0.6, 0.9]), torch.tensor([3, 5, 8]), 10)
    assert found.mean_error == pytest.approx((0.1 + 0.1 + 0.1) / 3)
    found = Coverage(torch.tensor([0.2, 0.6, 0.9]), torch.tensor([4, 5, 5]), 10)
    assert found.max_error == pytest.approx(0.4)
    assert found.rms_error == pytest.approx(math.sqrt((0.04 + 0.01 + 0.16) / 3))


@given(st.lists(st.integers(0, 40), min_size=2, max_size=12))
def test_the_area_is_that_of_a_fine_grid(inside):
    levels = torch.linspace(0.1, 0.9, len(inside), dtype=torch.float64)
    found = Coverage(levels, torch.tensor(inside), 40)
    grid = np.linspace(0.1, 0.9, 40_001)
    gaps = np.abs(np.interp(grid, levels, found.observed) - grid)
    assert found.auce == pytest.approx(np.trapezoid(gaps, grid), abs=1e-6)
    turned = Coverage(levels.flip(0), torch.tensor(inside).flip(0), 40)
    assert turned.auce == pytest.approx(found.auce, rel=1e-12)


def test_one_level_has_no_area():
    with pytest.raises(ValueError, match="one level, expected at least 2"):
        _ = Coverage(torch.tensor([0.5]), torch.tensor([1]), 2).auce


@pytest.mark.parametrize("count", [1, 7, 100])
def test_what_chance_alone_does(count):
    levels = torch.tensor([0.0, 0.05, 0.29, 0.5, 0.95, 1.0], dtype=torch.float64)
    found = Coverage(levels, torch.zeros(6, dtype=torch.int64), count)
    ways = np.arange(count + 1)[:, None]
    chances = stats.binom.pmf(ways, count, levels.numpy())
    expected = (chances * np.abs(ways / count - levels.numpy())).sum(0).mean()
    assert found.null_mean_error == pytest.approx(expected, rel=1e-9)
    low, high = found.null_band(level=0.9)
    within = (ways / count >= low.numpy() - 1e-9) & (ways / count <= high.numpy() + 1e-9)
    assert ((chances * within).sum(0) >= 0.9 - 1e-9).all()
    outside = (ways / count > high.numpy() + 1e-9) | (ways / count < low.numpy() - 1e-9)
    assert ((chances * outside).sum(0) <= 0.1 + 1e-9).all()
    with pytest.raises(ValueError, match="`level` is 95"):
        found.null_band(95)


def test_positions_that_are_masked_out():
    answer = GaussianPrediction(torch.zeros(2, 1, 4), torch.ones(2, 1, 4))
    y = torch.tensor([[[0.1, 9.0, math.nan, 0.2]], [[9.0, math.nan, math.nan, 9.0]]])
    found = coverage(answer, y, [0.5], mask=~y.isnan())
    assert (int(found.inside), found.total) == (2, 5)
    with pytest.raises(ValueError, match="`mask` has shape"):
        coverage(answer, y, [0.5], mask=[True])


def test_a_mixture_has_its_own_intervals():
    # two narrow components: the middle of the interval is empty, yet inside
    draws = torch.tensor([[[-5.0, 0.01]], [[5.0, 0.01]]])
    answer = GaussianPrediction([[0.0]], [[0.01]], [[25.0]], draws)
    assert coverage(answer, [[5.0]], levels=[0.9]).observed.tolist() == [1.0]
    assert coverage(answer, [[5.3]], levels=[0.9]).observed.tolist() == [0.0]
    moments = GaussianPrediction([[0.0]], [[0.01]], [[25.0]])
    assert coverage(moments, [[5.3]], levels=[0.9]).observed.tolist() == [1.0]


@pytest.mark.parametrize(
    ("y", "levels", "message"),
    [
        ([0.0, 0.0], [0.5], r"y.unsqueeze\(1\)"),
        ([[0.0]], [0.5], r"expected \(2, 1\)"),
        ([[0.0], [math.nan]], [0.5], "`y` has 1 NaN"),
        ([[0.0], [math.inf]], [0.5], "1 infinite"),
        ([[0.0], [0.0]], [], "`levels` is"),
        ([[0.0], [0.0]], [0.5, 1.0], "`levels` is"),
        ([[0.0], [0.0]], [0.0], "`levels` is"),
        ([[0.0], [0.0]], [95], "`levels` is"),
        ([[0.0], [0.0]], [math.nan], "`levels` is"),
        ([[0.0], [0.0]], 0.5, "`levels` is 0.5"),
    ],
)
def test_bad_input(y, levels, message):
    with pytest.raises(ValueError, match=message):
        coverage(gaussian([0.0, 0.0], [1.0, 1.0]), y, levels)


def test_no_examples():
    empty = GaussianPrediction(torch.empty(0, 1), torch.empty(0, 1))
    with pytest.raises(ValueError, match="empty"):
        coverage(empty, torch.empty(0, 1))


def quantiles(levels, rows=400, outputs=2):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(rows, len(levels), outputs, generator=generator, dtype=torch.float64)
    return QuantilePrediction(values.sort(dim=1).values, levels)


def test_quantiles_promise_their_central_intervals():
    levels = [0.05, 0.25, 0.5, 0.75, 0.95]
    true = torch.tensor(stats.norm.ppf(levels)).expand(20_000, 5).unsqueeze(2)
    y = torch.randn(20_000, 1, dtype=torch.float64)
    found = coverage(QuantilePrediction(true, levels), y)
    np.testing.assert_allclose(found.levels, [0.5, 0.9], rtol=1e-12)
    near = 5 * math.sqrt(0.25 / 20_000)
    np.testing.assert_allclose(found.observed, found.levels, rtol=0, atol=near)
    with pytest.raises(ValueError, match=r"`level` is 0.95, expected .* at most 0.9"):
        coverage(QuantilePrediction(true, levels), y, [0.95])


def test_quantiles_have_no_density():
    with pytest.raises(TypeError, match=r"no `log_prob`.*evaluation.pinball\(prediction, y\)`"):
        density_nll(quantiles([0.1, 0.9]), torch.zeros(400, 2))


def test_a_laplacian_covers_and_has_a_density():
    scale, y = 0.7, torch.from_numpy(stats.laplace.rvs(0, 0.7, (20_000, 1), random_state=0))
    answer = LaplacianPrediction(torch.zeros(20_000, 1), torch.full((20_000, 1), 2 * scale**2))
    found = coverage(answer, y)
    near = 5 * math.sqrt(0.25 / 20_000)
    np.testing.assert_allclose(found.observed, found.levels, rtol=0, atol=near)
    expected = -stats.laplace.logpdf(y.numpy(), 0, scale).mean()
    assert density_nll(answer, y) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (torch.zeros(400), r"`y` has shape \(400,\), expected \(400, 2\)"),
        (torch.full((400, 2), torch.nan), "`y` has 800 NaN"),
    ],
)
def test_bad_targets_of_quantiles(y, message):
    with pytest.raises(ValueError, match=message):
        coverage(quantiles([0.1, 0.9]), y)


@pytest.mark.parametrize("levels", [[0.9], [0.2, 0.5, 0.9], [0.0, 0.3, 1.0]])
def test_p_values_of_calibrated_models_are_spread_evenly(levels):
    random = torch.Generator().manual_seed(0)
    levels = torch.tensor(levels, dtype=torch.float64)
    values = torch.rand(300, 2000, 1, generator=random, dtype=torch.float64)
    found = torch.tensor([Coverage(levels, (v < levels).sum(0), 2000).p_value() for v in values])
    for share in (0.05, 0.5):  # ties make large ones more frequent
        assert float((found <= share).double().mean()) <= share + 3 * (share / 300) ** 0.5
    assert float((found <= 0.5).double().mean()) > 0.3


def test_a_miscalibrated_model_has_a_small_p_value():
    levels = torch.tensor([0.9, 0.5], dtype=torch.float64)
    assert Coverage(levels, torch.tensor([60, 60]), 100).p_value() < 0.01
