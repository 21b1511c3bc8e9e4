import matplotlib.pyplot as plt
import numpy as np

from duda.evaluation import accuracy_above, selective


def test_the_curve_is_drawn_beside_the_mean_loss():
    found = selective([0.1, 0.9, 0.4, 0.2], [0, 1, 1, 0])
    ax = found.plot()
    mean, curve = ax.lines
    assert set(mean.get_ydata()) == {0.5}
    np.testing.assert_array_equal(curve.get_xdata(), found.coverages)
    np.testing.assert_array_equal(curve.get_ydata(), found.risks)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["all accepted", f"AURC {found.aurc:.3g}"]
    assert ax.get_ylim()[0] == 0


def test_losses_below_zero_are_shown():
    assert selective([0.1, 0.2], [-3.0, -1.0]).plot().get_ylim()[0] <= -3


def test_accuracy_leaves_a_gap_where_nobody_is_so_sure():
    ax = accuracy_above([0.2, 0.6], [False, True], levels=[0.0, 0.5, 0.9]).plot()
    [line] = ax.lines
    np.testing.assert_array_equal(line.get_xdata(), [0, 0.5, 0.9])
    np.testing.assert_array_equal(line.get_ydata(), [0.5, 1, np.nan])


def test_they_draw_where_they_are_told():
    _, (left, right) = plt.subplots(1, 2)
    assert selective([0.0, 1.0], [0, 1]).plot(left) is left
    assert accuracy_above([0.5], [1]).plot(right) is right
