"""Clouds show the points and groups that they are given, and need no network."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from duda.plots import clouds
from duda.plots.clouds import Coloring, TurnableCloud, from_above

POINTS = torch.tensor([[1.0, 2.0, 9.0], [3.0, -4.0, 0.0], [60.0, 0.0, 0.0]])
TWO = Coloring(torch.tensor([0, 1, 1]), ["road", "car"], torch.tensor([[1.0, 0, 0], [0, 0, 1]]))


def test_ten_steps_hold_every_value() -> None:
    found = Coloring.steps(torch.tensor([0.0, 0.29, 0.31, 2.99, 3.0, 8.0]), highest=3.0)
    assert found.groups.tolist() == [0, 0, 1, 9, 9, 9]
    assert len(found.names) == len(found.colors) == 10
    assert found.names[0] == "0 to 0.3"
    assert found.names[9] == "above 2.7"


def test_names_of_small_steps_differ() -> None:
    found = Coloring.steps(torch.tensor([0.0]), highest=0.05, count=4)
    assert found.names == ["0 to 0.0125", "0.0125 to 0.025", "0.025 to 0.0375", "above 0.0375"]


def test_from_above_looks_ahead_with_high_points_on_top() -> None:
    ax = from_above(POINTS, TWO, reach=(50, 20))
    drawn = ax.collections[0]
    np.testing.assert_allclose(drawn.get_offsets(), [[3, -4], [1, 2]])
    np.testing.assert_allclose(drawn.get_facecolors()[:, :3], [[0, 0, 1], [1, 0, 0]])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["road", "car"]


def test_from_above_names_only_what_it_shows() -> None:
    ax = from_above(POINTS, TWO, reach=(2, 3))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["road"]
    patch = ax.get_legend().legend_handles[0]
    assert patch.get_facecolor()[:3] == (1, 0, 0)


def test_part_of_a_coloring_has_the_same_names_and_colors() -> None:
    part = TWO[::2]
    assert part.groups.tolist() == [0, 1]
    assert part.names is TWO.names
    assert part.colors is TWO.colors


def test_buttons_show_one_coloring_each() -> None:
    one = Coloring(torch.tensor([2, 2, 2]), ["a", "b", "c"], torch.eye(3))
    figure = TurnableCloud(POINTS, {"truth": TWO, "guess": one}).figure
    assert [trace.name for trace in figure.data] == ["road", "car", "c"]
    assert [trace.visible for trace in figure.data] == [True, True, False]
    np.testing.assert_allclose(figure.data[1].x, [3, 60])
    assert figure.data[1].marker.color == "rgb(0, 0, 255)"
    buttons = figure.layout.updatemenus[0].buttons
    assert [button.label for button in buttons] == ["truth", "guess"]
    assert buttons[1].args[0]["visible"] == [False, False, True]


def test_the_page_brings_its_code() -> None:
    html = TurnableCloud(POINTS, {"truth": TWO})._repr_html_()
    assert not re.search(r"<script[^>]+src=", html)
    assert 4e6 < len(html) < 6e6


def test_points_may_hold_more_than_their_place() -> None:
    scan = torch.cat([POINTS, torch.rand(3, 1)], 1)
    (road, car) = TurnableCloud(scan, {"truth": TWO}).figure.data
    assert [*road.z, *car.z] == POINTS[:, 2].tolist()


def test_colorings_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"lies in \[0, 2\], expected 0 to 1"):
        Coloring(torch.tensor([0, 2]), ["a", "b"], torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"shape \(3, 3\), expected \(2, 3\)"):
        Coloring(torch.tensor([0, 1]), ["a", "b"], torch.zeros(3, 3))
    with pytest.raises(ValueError, match="`values` has 1 NaN"):
        Coloring.steps(torch.tensor([0.1, torch.nan]), highest=1.0)
    for values, highest in (([0.1], 0.0), ([0.1], torch.inf), ([-0.1], 1.0)):
        with pytest.raises(ValueError, match="expected a finite number above 0, and values from 0"):
            Coloring.steps(torch.tensor(values), highest=highest)
    with pytest.raises(ValueError, match="`count` is 0"):
        Coloring.steps(torch.tensor([0.1]), highest=1.0, count=0)
    with pytest.raises(ValueError, match="2 points, but `coloring` has groups for 3"):
        from_above(POINTS[:2], TWO, reach=(50, 20))
    with pytest.raises(ValueError, match="2 points, but `coloring` has groups for 3"):
        TurnableCloud(POINTS[:2], {"truth": TWO})


def test_old_names_of_colors_warn() -> None:
    with pytest.warns(DeprecationWarning, match="is now `duda.plots.clouds.Coloring`"):
        assert clouds.Colouring is Coloring
    with pytest.warns(DeprecationWarning, match="`Coloring.colours` is now `colors`"):
        assert TWO.colours is TWO.colors
    with pytest.warns(DeprecationWarning, match="the argument `colouring` is now `coloring`"):
        from_above(POINTS, colouring=TWO, reach=(10, 5))
