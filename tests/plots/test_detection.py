import math

import matplotlib.pyplot as plt
import numpy as np
import pytest

from duda.evaluation import ood, rank


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_roc_shows_the_rates():
    found = rank([0.1, 0.4, 0.4, 0.8], [0, 0, 1, 1])
    ax = found.plot()
    chance, curve = ax.lines
    assert chance.get_xydata().tolist() == [[0, 0], [1, 1]]
    assert curve.get_xydata().tolist() == [[0, 0], [0, 0.5], [0.5, 1], [1, 1]]
    assert labels(ax) == ["chance", "AUROC 0.875"]


def test_histograms_are_densities():
    inside, outside = np.linspace(0, 1, 50), np.linspace(2, 4, 20)
    ax = ood(inside, outside).plot()
    areas = [
        patch.get_data().values @ np.diff(patch.get_data().edges)
        for patch in ax.patches
        if patch.get_label() in labels(ax)
    ]
    assert areas == pytest.approx([1, 1])
    assert labels(ax) == [
        "in distribution, n = 50",
        "out of distribution, n = 20",
        "keeps 95 % in distribution",
    ]
    [threshold] = ax.lines
    assert threshold.get_xdata()[0] == pytest.approx(ood(inside, outside).threshold_in)


def test_infinite_scores_are_told():
    ax = ood([0.0, 1.0], [2.0, math.inf]).plot()
    assert labels(ax)[:2] == [
        "in distribution, n = 2",
        "out of distribution, n = 2, 1 infinite not shown",
    ]


def test_nothing_finite():
    ax = ood([-math.inf], [math.inf, math.inf]).plot()
    assert labels(ax)[1] == "out of distribution, n = 2, 2 infinite not shown"


def test_all_tied():
    assert ood([3, 3], [3]).plot().get_xlim()[0] < 3


def test_they_draw_where_they_are_told():
    _, (left, right) = plt.subplots(1, 2)
    assert rank([0.0, 1.0], [0, 1]).plot(left) is left
    assert ood([0.0], [1.0]).plot(right) is right
