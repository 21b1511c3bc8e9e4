"""Tiles of large pictures, predicted with an overlap, whose maps are written as they come."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from duda.checks import as_tensor, check_count, check_flag, check_whole, nearest
from duda.files import move_into
from duda.methods import UncertainModel
from duda.predictions import Prediction
from duda.progress import progress

__all__ = ["predict"]


class _Tile(NamedTuple):
    """One tile along both sides: what the network sees, and which part of that is kept."""

    seen: tuple[slice, slice]
    kept: tuple[slice, slice]

    @property
    def inner(self) -> tuple[slice, slice]:
        """The part that is kept, counted from the tile's own corner."""
        return tuple(  # type: ignore[return-value] # two of them
            slice(kept.start - seen.start, kept.stop - seen.start)
            for seen, kept in zip(self.seen, self.kept, strict=True)
        )


def predict(
    model: UncertainModel,
    picture: Tensor | np.ndarray,
    *,
    tile: int = 512,
    overlap: int = 64,
    maps: Sequence[str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    prepare: Callable[[Tensor], Tensor] | None = None,
    samples: int | None = None,
    seed: int | None = None,
    joint: bool = False,
) -> dict[str, Tensor]:
    """Return maps of a large picture, predicted tile by tile, as if it had been seen whole.

    Of each tile half of `overlap` is left out where another one follows. So maps are those of the
    whole picture if the network looks no farther than that from a pixel, and if tiles start where
    its strides do. Memory goes with the tile, and with the maps unless these have a `folder`.

    Args:
        model: of a network that takes pictures of any size, and says something of each pixel.
        picture: `(C, H, W)`; an array may be mapped from a file and larger than memory.
        tile: pixels along each side of what the network sees at a time.
        overlap: how many of them two neighbors share.
        maps: which attributes of the prediction, such as `"labels"` and `"epistemic"`; by default
            all that its `numpy` has.
        folder: where to write them, as `NAME.npy`, each there once it is whole.
        prepare: makes of a part of the picture, as a tensor, what the network takes.
        samples: as in `model.predict`.
        seed: likewise.
        joint: likewise: draws that are one function for all tiles have no seams between them.

    Returns:
        Maps by name, `(H, W)`, or `(C, H, W)` of what is more for each pixel.

    Raises:
        ValueError: if the picture has another shape, or what is predicted of a tile has.

    >>> import duda
    >>> network = torch.nn.Conv2d(1, 2, 3, padding=1)
    >>> model = duda.Deterministic(network, duda.Categorical())
    >>> found = predict(model, torch.zeros(1, 30, 50), tile=16, overlap=4, maps=["labels"])
    >>> found["labels"].shape
    torch.Size([30, 50])
    """
    side, shared = check_count(tile, "tile"), check_whole(overlap, "overlap")
    if not 0 <= shared < side or shared % 2:
        expected = f"expected an even number from 0 and below `tile`, which is {side}"
        raise ValueError(f"`overlap` is {shared}, {expected}.")
    check_flag(joint, "joint")
    height, width = _sides(picture)
    tiles = list(_tiles(height, width, side, shared))
    with _Written(folder, (height, width)) as written:
        for each in progress(tiles, "predict", len(tiles)):
            part = _part(picture, each.seen)
            x = part if prepare is None else prepare(part)
            said = model.predict(x.unsqueeze(0), samples=samples, seed=seed, joint=joint)
            for name in _names(said, maps):
                written.put(name, getattr(said, name), each)
    return written.maps


def _sides(picture: Tensor | np.ndarray) -> tuple[int, int]:
    if not isinstance(picture, Tensor | np.ndarray):
        raise TypeError(f"`picture` is a {type(picture).__name__}, expected a tensor or an array.")
    if picture.ndim != 3 or 0 in picture.shape:
        raise ValueError(
            f"`picture` has shape {tuple(picture.shape)}, expected (C, H, W): give one picture, "
            "channels first."
        )
    return picture.shape[1], picture.shape[2]


def _tiles(height: int, width: int, side: int, shared: int) -> Iterator[_Tile]:
    """Yield the tiles, row by row; the last of each row and column may be smaller."""
    for rows in _windows(height, side, shared):
        for columns in _windows(width, side, shared):
            yield _Tile(*zip(rows, columns, strict=True))


def _windows(length: int, side: int, shared: int) -> list[tuple[slice, slice]]:
    starts = range(0, max(length - shared, 1), side - shared)
    return [
        (
            slice(start, min(start + side, length)),
            slice(
                start + shared // 2 * (start > 0),
                length if start == starts[-1] else start + side - shared // 2,
            ),
        )
        for start in starts
    ]


def _part(picture: Tensor | np.ndarray, seen: tuple[slice, slice]) -> Tensor:
    part = picture[:, seen[0], seen[1]]
    return part if isinstance(part, Tensor) else as_tensor(np.array(part), "picture")


def _names(said: Prediction, maps: Sequence[str] | None) -> list[str]:
    known = [*said._fields(), *said.derived]
    tensors = [name for name in known if name != "draws" and _is_map(said, name)]
    if maps is None:
        return tensors
    for name in maps:
        if not _is_map(said, name):
            raise ValueError(nearest(name, tensors, "map"))
    return list(maps)


def _is_map(said: Prediction, name: str) -> bool:
    return isinstance(getattr(said, name, None), Tensor)


class _Written:
    """Maps that grow by tiles, in memory or in files of a folder."""

    def __init__(self, folder: str | os.PathLike[str] | None, size: tuple[int, int]) -> None:
        self._folder = None if folder is None else Path(folder)
        self._size = size
        self._arrays: dict[str, np.ndarray] = {}
        self.maps: dict[str, Tensor] = {}

    def __enter__(self) -> _Written:
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def put(self, name: str, value: Tensor, tile: _Tile) -> None:
        """Write what was predicted of one tile."""
        seen = tuple(each.stop - each.start for each in tile.seen)
        if len(value) != 1 or tuple(value.shape[-2:]) != seen or value.ndim < 3:
            raise ValueError(
                f"`{name}` of a tile of {seen[0]} x {seen[1]} pixels has shape "
                f"{tuple(value.shape)}, expected (1, ..., {seen[0]}, {seen[1]}): choose `maps`, "
                "and a network that says something of each pixel."
            )
        kept = value.detach()[0][(..., *tile.inner)].cpu()
        part = (kept.float() if kept.dtype == torch.bfloat16 else kept).numpy()
        if name not in self._arrays:
            self._arrays[name] = self._new(name, part.shape[:-2], part.dtype)
        self._arrays[name][(..., *tile.kept)] = part

    def _new(self, name: str, before: tuple[int, ...], dtype: Any) -> np.ndarray:
        shape = (*before, *self._size)
        if self._folder is None:
            return np.empty(shape, dtype)
        path = self._folder / f"{name}.npy.unfinished"
        return np.lib.format.open_memmap(path, "w+", dtype, shape)

    def __exit__(self, failed: object, *rest: object) -> None:
        arrays, self._arrays = self._arrays, {}
        for name in list(arrays):
            array = arrays.pop(name)
            if self._folder is None:
                self.maps[name] = torch.from_numpy(array)
                continue
            unfinished = self._folder / f"{name}.npy.unfinished"
            array.flush()  # type: ignore[attr-defined] # which is mapped
            del array  # or some systems do not move the file
            if failed is not None:
                unfinished.unlink()
                continue
            target = self._folder / f"{name}.npy"
            move_into(unfinished, target)
            self.maps[name] = torch.from_numpy(np.load(target, mmap_mode="r+"))
