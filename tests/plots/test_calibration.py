import matplotlib.pyplot as plt
import pytest
import torch

from duda.evaluation import reliability, reliability_of


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_the_diagram_shows_what_was_found():
    found = reliability_of([0.2] * 9 + [0.9] * 10, [True] * 19, bins=5)
    ax = found.plot()
    right, gap = (bars for bars in ax.containers[:2])
    assert [bar.get_height() for bar in right] == [1.0, 1.0]
    assert [bar.get_height() for bar in gap] == pytest.approx([-0.8, -0.1])
    assert [bar.get_x() for bar in right] == pytest.approx([0.2, 0.8])
    assert f"{found.ece:.3f}" in ax.get_title()
    assert f"{found.null_band().limit:.3f}" in ax.get_title()
    assert "by chance" in labels(ax)
    [histogram] = ax.child_axes
    assert [bar.get_height() for bar in histogram.patches] == [9, 10]


def test_it_draws_where_it_is_told():
    _, ax = plt.subplots()
    assert reliability_of([0.5], [1]).plot(ax) is ax


def test_bins_without_width_are_seen():
    sure = [1.0] * 4  # all of them wrong, and more than a bin of equal numbers holds
    found = reliability_of([0.6, 0.7, *sure], [1, 1, 0, 0, 0, 0], bins=3, binning="quantile")
    ax = found.plot()
    last = ax.containers[1][-1]
    assert (last.get_x() + last.get_width(), last.get_height()) == (1, 1)
    assert last.get_width() > 0
    (histogram,) = ax.child_axes
    assert sum(bar.get_height() for bar in histogram.patches) == 6


def test_empty_bins_are_left_out():
    ax = reliability_of([0.5] * 4, [1] * 4, bins=4, binning="quantile").plot()
    assert [bar.get_width() for bar in ax.containers[0]] == [0.5]


def test_votes_have_no_band():
    ax = reliability([[0.7, 0.3]], torch.tensor([[0.6, 0.4]])).plot()
    assert "by chance" not in labels(ax)
    assert "chance" not in ax.get_title()


def test_one_class_at_a_time():
    found = reliability([[0.7, 0.3]], [0], kind="class")
    with pytest.raises(ValueError, match=r"draw `per_class\[0\]`"):
        found.plot()
    assert found.per_class[1].plot().get_xlabel() == "confidence"
