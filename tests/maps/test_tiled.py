"""Tiles: equal to the whole picture, in memory that does not grow with it, in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import duda
from duda.maps.tiled import _tiles
from tests.sampling.test_sharing import LiveBytes


class Small(nn.Module):
    """Looks 4 pixels far, and says something of each pixel; at half the resolution in between."""

    def __init__(self, outputs: int, stride: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1, stride=stride)
        self.drop = nn.Dropout2d(dropout)
        self.last = nn.Conv2d(6, outputs, 3, padding=1)
        self.stride = stride
        self.seen: list[tuple[int, int]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(tuple(x.shape[2:]))
        found = self.last(self.drop(self.first(x).relu()))
        return found.repeat_interleave(self.stride, 2).repeat_interleave(self.stride, 3)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 20), st.integers(0, 9))
def test_each_pixel_is_kept_once_from_a_tile_that_sees_its_surroundings(
    height: int, width: int, side: int, half: int
) -> None:
    shared = min(2 * half, (side - 1) // 2 * 2)
    count = np.zeros((height, width), dtype=int)
    for tile in _tiles(height, width, side, shared):
        count[tile.kept] += 1
        for seen, kept, length in zip(tile.seen, tile.kept, (height, width), strict=True):
            assert 0 <= seen.start <= kept.start < kept.stop <= seen.stop <= length
            assert seen.stop - seen.start <= side
            assert kept.start - seen.start >= shared // 2 or seen.start == kept.start == 0
            assert seen.stop - kept.stop >= shared // 2 or seen.stop == kept.stop == length
    assert (count == 1).all()


MODELS = {
    "classes": lambda: duda.DeepEnsemble(lambda: Small(3), duda.Categorical(), 3),
    "with strides": lambda: duda.DeepEnsemble(lambda: Small(3, stride=2), duda.Categorical(), 2),
    "depth": lambda: duda.DeepEnsemble(lambda: Small(2), duda.Gaussian(), 3),
    "labels": lambda: duda.Deterministic(Small(4), duda.Bernoulli()),
    "joint draws": lambda: duda.MCDropout(Small(3, dropout=0.3), duda.Categorical(), samples=4),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("height", "width"), [(38, 50), (10, 70), (16, 16)])
def test_maps_are_those_of_the_whole_picture(name: str, height: int, width: int) -> None:
    torch.manual_seed(0)
    model, picture = MODELS[name](), torch.randn(3, height, width)
    joint = name == "joint draws"
    found = duda.maps.predict(model, picture, tile=16, overlap=8, seed=0, joint=joint)
    whole = model.predict(picture.unsqueeze(0), seed=0, joint=joint)
    assert {"aleatoric", "epistemic", "score"} <= found.keys()
    for key, value in found.items():
        torch.testing.assert_close(value, getattr(whole, key)[0], atol=1e-5, rtol=1e-4)


@given(st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=10, deadline=None)
def test_any_size(height: int, width: int) -> None:
    torch.manual_seed(0)
    model, picture = duda.Deterministic(Small(2), duda.Categorical()), torch.randn(3, height, width)
    found = duda.maps.predict(model, picture, tile=9, overlap=4, maps=["probs"])
    whole = model.predict(picture.unsqueeze(0)).probs[0]
    torch.testing.assert_close(found["probs"], whole, atol=1e-5, rtol=1e-4)


def test_memory_does_not_grow_with_the_picture(tmp_path: Path) -> None:
    """Counted are tensors alive: neither the picture nor its maps are ever in memory."""
    model, peaks = duda.DeepEnsemble(lambda: Small(3), duda.Categorical(), 3), []
    now: list[int] = []
    for side in (96, 384):
        picture = np.lib.format.open_memmap(
            tmp_path / f"picture{side}.npy", "w+", np.uint8, (3, side, side)
        )
        picture[:] = np.random.default_rng(0).integers(0, 256, picture.shape)
        with LiveBytes() as live:
            found = duda.maps.predict(
                model,
                picture,
                tile=64,
                overlap=8,
                maps=["labels", "epistemic"],
                folder=tmp_path / str(side),
                prepare=lambda part, live=live: (now.append(live.peak), part.float() / 255)[1],
            )
        peaks.append(now[-1])  # when the last tile came: what is returned is mapped
        assert found["labels"].shape == (side, side)
        kept = np.load(tmp_path / str(side) / "epistemic.npy", mmap_mode="r")
        assert np.array_equal(kept, found["epistemic"])
    assert peaks[1] <= 1.3 * peaks[0]  # of a picture 16 times as large


def test_the_network_sees_tiles_only() -> None:
    network = Small(2)
    model = duda.Deterministic(network, duda.Categorical())
    duda.maps.predict(model, torch.randn(3, 100, 20), tile=32, overlap=8)
    assert set(network.seen) == {(32, 20), (28, 20)}


def test_a_network_that_fails_leaves_no_files(tmp_path: Path) -> None:
    class Fails(Small):
        def forward(self, x: Tensor) -> Tensor:
            if len(self.seen) == 3:
                raise RuntimeError("out of luck")
            return super().forward(x)

    model = duda.Deterministic(Fails(2), duda.Categorical())
    with pytest.raises(RuntimeError, match="out of luck"):
        duda.maps.predict(model, torch.randn(3, 90, 90), tile=32, overlap=8, folder=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"picture": torch.zeros(1, 3, 8, 8)}, r"`picture` has shape \(1, 3, 8, 8\), expected \(C"),
        (
            {"overlap": 16},
            "`overlap` is 16, expected an even number from 0 and below `tile`, which",
        ),
        ({"overlap": 3}, "`overlap` is 3, expected an even number"),
        ({"maps": ["label"]}, "unknown map 'label': did you mean 'labels'"),
    ],
)
def test_bad_input_is_one_sentence(arguments: dict[str, object], message: str) -> None:
    given = {"picture": torch.zeros(3, 20, 20), "tile": 16, "overlap": 4} | arguments
    with pytest.raises(ValueError, match=message):
        duda.maps.predict(duda.Deterministic(Small(2), duda.Categorical()), **given)  # type: ignore[arg-type]


def test_a_network_of_whole_pictures_is_told() -> None:
    network = nn.Sequential(Small(2), nn.AdaptiveAvgPool2d(4))
    model = duda.Deterministic(network, duda.Categorical())
    with pytest.raises(ValueError, match=r"of a tile of 16 x 16 pixels has shape \(1, 2, 4, 4\)"):
        duda.maps.predict(model, torch.zeros(3, 20, 20), tile=16, overlap=4, maps=["probs"])
