"""Points go to the pixels of the paper's equations, and what stands there comes back to all."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from duda.datasets.gallery.range_image import RangeView, turned_scan


def point(azimuth: float, pitch: float, distance: float = 10.0, remission: float = 0.5):
    a, p = math.radians(azimuth), math.radians(pitch)
    flat = distance * math.cos(p)
    return [flat * math.cos(a), flat * math.sin(a), distance * math.sin(p), remission]


def cloud(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([20.0, 20.0, 3.0, 1.0])
    return torch.randn(count, 4, generator=generator) * scale


@given(azimuth=st.floats(-179.9, 179.9), pitch=st.floats(-24.9, 2.9))
def test_pixels_follow_equation_one(azimuth: float, pitch: float) -> None:
    seen = RangeView(64, 2048).project(torch.tensor([point(azimuth, pitch)], dtype=torch.float64))
    row, column = divmod(int(seen.pixels[0]), 2048)
    a, p = math.radians(azimuth), math.radians(pitch)
    up, down = math.radians(3), math.radians(25)
    assert abs(column + 0.5 - 0.5 * (1 - a / math.pi) * 2048) <= 0.5 + 1e-6
    assert abs(row + 0.5 - (1 - (p + down) / (up + down)) * 64) <= 0.5 + 1e-6


@pytest.mark.parametrize(
    ("azimuth", "column"), [(0.1, 3), (-0.1, 4), (90.1, 1), (-89.9, 5), (179.9, 0), (-179.9, 7)]
)
def test_columns_turn_from_behind_over_the_left(azimuth: float, column: int) -> None:
    seen = RangeView(1, 8).project(torch.tensor([point(azimuth, 0)]))
    assert seen.pixels.tolist() == [column]


def test_points_beyond_the_field_of_view_belong_to_its_edges() -> None:
    points = torch.tensor([point(5, 80), point(5, -80), [0.0, 0.0, 0.0, 0.1]])
    seen = RangeView(28, 8).project(points)
    assert (seen.pixels // 8).tolist() == [0, 27, 3]


def test_the_nearest_point_wins_and_the_first_among_equals() -> None:
    points = torch.tensor(
        [point(0.1, 0, 9), point(0.1, 0, 4, 0.7), point(0.1, 0, 4, 0.9), point(0.1, 0, 6)]
    )
    seen = RangeView(1, 4).project(points)
    assert seen.nearest.tolist() == [[-1, 1, -1, -1]]
    shown = seen.image[:, 0, 1]
    assert shown[0] == pytest.approx(4)
    torch.testing.assert_close(shown[1:], points[1])
    assert bool((seen.image[:, 0, 2:] == 0).all())


def test_lost_beams_hide_nothing() -> None:
    lost, car = [0.0, 0.0, 0.0, 0.0], [12.0, 0.0, 0.0, 0.6]
    found = RangeView().project(torch.tensor([lost, car]))
    assert found.pixels[0] == found.pixels[1]
    assert found.image.flatten(1)[0, found.pixels[1]] == 12
    alone = RangeView().project(torch.tensor([lost]))
    assert (alone.nearest == -1).all()
    assert alone.to_points(torch.ones(64, 2048)).tolist() == [1]


def test_whole_numbers_are_points_too() -> None:
    found = RangeView().project(torch.tensor([[5, 1, 0, 0]]))
    assert float(found.image[0].max()) == pytest.approx(26**0.5)


def test_each_pixel_shows_its_nearest_point_by_brute_force() -> None:
    points = cloud(500, seed=1)
    seen = RangeView(4, 16).project(points)
    ranges = points[:, :3].double().norm(dim=1)
    for pixel in range(64):
        there = (seen.pixels == pixel).nonzero().flatten().tolist()
        expected = min(there, key=lambda i: float(ranges[i]), default=-1)
        assert int(seen.nearest.flatten()[pixel]) == expected


def test_what_stands_at_pixels_comes_back_to_every_point() -> None:
    points = cloud(300, seed=2)
    seen = RangeView(4, 16).project(points)
    numbers = torch.arange(300)
    shown = seen.to_pixels(numbers, empty=-1)
    assert torch.equal(shown, seen.nearest)
    back = seen.to_points(torch.stack([shown, 2 * shown]))
    assert back.shape == (2, 300)
    visible = seen.nearest[seen.nearest >= 0]
    assert torch.equal(back[0, visible], visible)
    assert torch.equal(back[1], 2 * back[0])
    assert torch.equal(seen.pixels[back[0]], seen.pixels)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (torch.zeros(3, 3), r"shape \(3, 3\), expected \(P, 4\)"),
        (torch.zeros(0, 4), "is empty"),
        (torch.full((1, 4), math.nan), "4 NaN"),
    ],
)
def test_bad_points(points: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RangeView().project(points)


def test_bad_views_and_values() -> None:
    with pytest.raises(ValueError, match="`width` is 0"):
        RangeView(width=0)
    with pytest.raises(ValueError, match=r"`up` is -25\.0 and `down` is 3\.0"):
        RangeView(up=-25.0, down=3.0)
    seen = RangeView(2, 4).project(torch.ones(3, 4))
    with pytest.raises(ValueError, match=r"shape \(2,\), expected \(3,\)"):
        seen.to_pixels(torch.ones(2))
    with pytest.raises(ValueError, match=r"shape \(4, 2\), expected \(..., H, W\).*\(2, 4\)"):
        seen.to_points(torch.ones(4, 2))


def test_a_turned_scan_keeps_distances_heights_and_remissions() -> None:
    points = cloud(50, seed=3).double()
    turned = turned_scan(points)
    assert not torch.allclose(turned[:, :2], points[:, :2])
    assert torch.equal(turned[:, 2:], points[:, 2:])
    before, after = (part[:, None, :3] - part[None, :, :3] for part in (points, turned))
    torch.testing.assert_close(after.norm(dim=2), before.norm(dim=2))


def test_scans_turn_by_all_angles_and_half_of_them_in_a_mirror() -> None:
    corner = torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    turns = torch.stack([turned_scan(corner) for _ in range(400)])
    mirrored = (torch.linalg.det(turns) < 0).double().mean()
    assert 0.4 < float(mirrored) < 0.6
    quarters = torch.atan2(turns[:, 0, 1], turns[:, 0, 0]).div(torch.pi / 2).floor()
    assert quarters.unique(return_counts=True)[1].tolist() == pytest.approx([100] * 4, abs=35)
