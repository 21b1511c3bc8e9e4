"""Maps side by side: each in the style of what it is, with one scale for what adds up."""

from __future__ import annotations

import pytest
import torch

from duda import Categorical, Gaussian
from duda.maps import panels
from duda.plots.maps import maps


def test_a_segmentation_is_drawn_whole() -> None:
    torch.manual_seed(0)
    answer = Categorical().reduce(torch.randn(4, 2, 3, 8, 10))
    y = torch.randint(3, (2, 8, 10))
    y[1, 0] = 255
    shown = panels(answer, y, picture=torch.rand(3, 8, 10), index=1, ignore_index=255)
    assert list(shown) == [
        "picture", "truth", "prediction", "entropy", "aleatoric", "epistemic", "error"
    ]  # fmt: skip
    assert (shown["truth"][0] == -1).all()
    assert not shown["error"][0].any()
    wrong = (answer.labels[1] != y[1])[1:]
    assert torch.equal(shown["error"][1:], wrong)
    axes = maps(shown, unit="nats", columns=4)
    assert [ax.get_title() for ax in axes] == list(shown)
    scales = {ax.images[0].get_clim() for ax in axes[3:6]}
    assert len(scales) == 1
    assert axes[1].images[0].get_clim() == axes[2].images[0].get_clim()


def test_a_depth_is_drawn_too() -> None:
    answer = Gaussian().reduce(torch.randn(4, 2, 2, 8, 10))
    y = torch.randn(2, 1, 8, 10)
    shown = panels(answer, y)
    assert shown["error"].shape == shown["prediction"].shape == (8, 10)
    torch.testing.assert_close(shown["error"], (answer.mean[0, 0] - y[0, 0]).abs().double())
    assert len(maps(shown)) == 6


def test_bad_input_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"`panels` has 'a' of shape \(2, 4, 4\), expected \(H, W"):
        maps({"a": torch.zeros(2, 4, 4)})
    with pytest.raises(ValueError, match="`panels` are empty"):
        maps({})
    with pytest.raises(ValueError, match="expected maps"):
        panels(Categorical().reduce(torch.randn(2, 3, 4)))
