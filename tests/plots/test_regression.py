import numpy as np
import pytest
import torch

from duda.evaluation import coverage, pit_of_gaussian, sparsification, spread
from duda.predictions import GaussianPrediction

MEAN, STD = torch.zeros(400), torch.linspace(0.5, 2, 400)


@pytest.fixture
def y():
    return 1.5 * STD * torch.randn(400)


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_coverage(y):
    found = pit_of_gaussian(MEAN, STD, y).coverage
    ax = found.plot()
    diagonal, curve = ax.lines
    np.testing.assert_array_equal(diagonal.get_xydata(), [[0, 0], [1, 1]])
    np.testing.assert_array_equal(curve.get_xdata(), found.levels)
    np.testing.assert_array_equal(curve.get_ydata(), found.observed)
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(1.0)
    assert labels(ax) == ["95 % band if calibrated", "observed"]


def test_levels_are_drawn_in_order(y):
    answer = GaussianPrediction(MEAN[:, None], STD[:, None].square())
    found = coverage(answer, y[:, None], [0.9, 0.5])
    curve = found.plot().lines[1]
    assert curve.get_xdata().tolist() == [0.5, 0.9]
    assert curve.get_ydata().tolist() == found.observed.flip(0).tolist()


def test_pit_histogram(y):
    ax = pit_of_gaussian(MEAN, STD, y).plot()
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


def test_spread(y):
    found = spread(STD, y, bins=3)
    diagonal, curve = found.plot().lines
    np.testing.assert_array_equal(curve.get_xdata(), found.promised)
    np.testing.assert_array_equal(curve.get_ydata(), found.observed)
    assert diagonal.get_xdata()[1] >= float(found.observed.max())
