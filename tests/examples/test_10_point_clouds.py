"""Three methods answer for every point of a real scan, and the page shows them."""

from __future__ import annotations

import math

import torch


def test_every_method_answers_for_every_point(example):
    page = example("plot_10_point_clouds", needs_data=True)
    scan, found = page["scan"], page["found"]
    assert set(found) == {"plain", "ensemble", "MC-Dropout", "MC-DropConnect"}
    for one in found.values():
        assert one["guess"].shape == one["entropy"].shape == scan.labels.shape == (120_485,)
        assert float(one["entropy"].min()) >= 0
        assert float(one["entropy"].max()) <= math.log(20) + 1e-5
        assert int(one["table"].matrix.sum()) == int((scan.labels > 0).sum())
        assert 0 < one["table"].accuracy < 1
        assert 0 <= one["auroc"] <= 1


def test_points_of_a_pixel_share_what_is_said_of_it(example):
    page = example("plot_10_point_clouds", needs_data=True)
    pixels = page["scan"].view.pixels
    entropy = page["found"]["ensemble"]["entropy"]
    seen = torch.full((int(pixels.max()) + 1,), torch.nan)
    seen[pixels] = entropy
    assert torch.equal(seen[pixels], entropy)


def test_methods_differ_and_the_network_is_small(example):
    page = example("plot_10_point_clouds", needs_data=True)
    plain, *others = (one["entropy"] for one in page["found"].values())
    assert not any(torch.equal(plain, other) for other in others)
    network = page["ensemble"].members[0]
    assert 20_000 <= sum(weight.numel() for weight in network.parameters()) <= 60_000


def test_a_turned_scanner_sees_the_same(example):
    page = example("plot_10_point_clouds", needs_data=True)
    network = page["small_range_net"]().eval()
    x = torch.randn(1, 5, 8, 16)
    with torch.no_grad():
        torch.testing.assert_close(network(x.roll(4, -1)), network(x).roll(4, -1))


def test_three_panels_and_ten_steps(example):
    page = example("plot_10_point_clouds", needs_data=True)
    colorings = page["colorings"]
    assert list(colorings) == ["entropy", "truth", "prediction"]
    assert len(colorings["entropy"].names) == 10
    assert len(page["axes"]) == 3
    for ax, name in zip(page["axes"], colorings, strict=True):
        assert ax.get_title().startswith(name)
