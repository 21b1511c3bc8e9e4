import numpy as np
import pytest
import torch

from duda.evaluation import coverage, pit, sparsification, spread
from duda.plots.regression import bands, coverage_curves, sparsification_curve
from duda.predictions import GaussianPrediction

MEAN, STD = torch.zeros(400), torch.linspace(0.5, 2, 400)


@pytest.fixture
def y():
    return 1.5 * STD * torch.randn(400)


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_coverage(y):
    found = pit(MEAN, y, std=STD).coverage
    ax = found.plot()
    diagonal, curve = ax.lines
    np.testing.assert_array_equal(diagonal.get_xydata(), [[0, 0], [1, 1]])
    np.testing.assert_array_equal(curve.get_xdata(), found.levels)
    np.testing.assert_array_equal(curve.get_ydata(), found.observed)
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(1.0)
    assert labels(ax) == ["95 % band if calibrated", "observed"]


def test_shares_up_to_a_quantile_say_nothing_of_caution(y):
    found = pit(MEAN, y, std=STD)
    assert {text.get_text() for text in found.coverage.plot().texts} == {"too sure", "too cautious"}
    ax = found.one_sided.plot()
    assert not ax.texts
    assert ax.get_ylabel() == "share of targets up to the quantile"


def test_levels_are_drawn_in_order(y):
    answer = GaussianPrediction(MEAN[:, None], STD[:, None].square())
    found = coverage(answer, y[:, None], [0.9, 0.5])
    curve = found.plot().lines[1]
    assert curve.get_xdata().tolist() == [0.5, 0.9]
    assert curve.get_ydata().tolist() == found.observed.flip(0).tolist()


def test_pit_histogram(y):
    ax = pit(MEAN, y, std=STD).plot()
    bars, band = ax.patches
    heights, edges, _ = bars.get_data()
    assert (heights * np.diff(edges)).sum() == pytest.approx(1.0)
    assert heights[0] > band.get_data().values[0] > 1 > band.get_data().baseline[0]


def test_sparsification_on_given_axes(y):
    import matplotlib.pyplot as plt

    _, ax = plt.subplots()
    found = sparsification(STD, y.abs())
    assert found.plot(ax) is ax
    score, oracle, _ = ax.lines
    assert score.get_ydata()[0] == oracle.get_ydata()[0] == 1.0
    assert (oracle.get_ydata() <= score.get_ydata() + 1e-12).all()
    assert score.get_xdata().tolist() == pytest.approx(np.arange(400) / 400)


def test_a_long_curve_is_thinned():
    error = torch.rand(5000)
    assert len(sparsification(error, error).plot().lines[0].get_xdata()) == 500


def test_a_very_long_curve_ends_with_its_last_point():
    count = 49_999_999
    ax = sparsification_curve(torch.ones(1).expand(count), torch.ones(1).expand(count))
    assert ax.lines[0].get_xdata()[-1] == pytest.approx((count - 1) / count, abs=1e-12)


def test_bands_about_a_constant():
    x = torch.linspace(-1, 1, 3)
    assert bands(x, x, x.abs(), truth=torch.full((3,), 2.0)).get_ylim() == (1, 3)


def test_spread(y):
    found = spread(STD, y, bins=3)
    diagonal, curve = found.plot().lines
    np.testing.assert_array_equal(curve.get_xdata(), found.promised)
    np.testing.assert_array_equal(curve.get_ydata(), found.observed)
    assert diagonal.get_xdata()[1] >= float(found.observed.max())


def test_bands_are_one_two_and_three_standard_deviations_wide():
    x = torch.linspace(-1, 1, 11)[:, None]
    ax = bands(x, 2 * x, 0.5 + x.square())
    for width, band in zip((3, 2, 1), ax.collections, strict=True):
        outline = band.get_paths()[0].vertices
        at_the_left = outline[outline[:, 0] == -1.0][:, 1]
        assert at_the_left.min() == pytest.approx(-2 - 1.5 * width)
        assert at_the_left.max() == pytest.approx(-2 + 1.5 * width)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), 2 * x.flatten())


def test_bands_know_where_the_data_are():
    x = torch.linspace(-4, 4, 9)
    train = (torch.linspace(-2, 3, 2000)[:, None], torch.linspace(0, 8, 2000)[:, None])
    ax = bands(x, x, x.abs(), train=train, truth=10 * x)
    points, truth, _ = ax.lines
    assert len(points.get_xdata()) == 500
    assert points.get_xdata()[-1] == 3
    np.testing.assert_array_equal(truth.get_ydata(), 10 * x)
    assert [(p.get_x(), p.get_width()) for p in ax.patches] == [(-4, 2), (3, 1)]
    assert ax.get_ylim() == (-60, 60)


def test_curves_of_methods_lie_over_one_band():
    levels = torch.tensor([0.5, 0.9])
    shares = {str(i): levels - i / 10 for i in range(3)}
    ax = coverage_curves(levels, shares, levels - 0.1, levels + 0.1)
    _, *curves = ax.lines
    for curve, (name, observed) in zip(curves, shares.items(), strict=True):
        assert curve.get_label() == name
        np.testing.assert_array_equal(curve.get_ydata(), observed)
    assert len({(curve.get_color(), curve.get_marker()) for curve in curves}) == 3
    assert len(ax.collections) == 1
