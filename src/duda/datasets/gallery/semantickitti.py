"""SemanticKITTI: laser scans of streets with a class for each point (Behley et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from duda.checks import check_finite, nearest, plain_number
from duda.datasets.base import data_folder
from duda.datasets.gallery.label_map import LabelMap, read_label_map
from duda.datasets.gallery.range_image import RangeImage, RangeView
from duda.renamed import OldAttribute

__all__ = ["Scan", "SemanticKITTI"]

_SOURCE = (
    "http://semantic-kitti.org (the scans are KITTI's odometry set, the labels its own, and "
    "`semantic-kitti.yaml` stands in `config` of its `semantic-kitti-api`)"
)
_YAML = "semantic-kitti.yaml"
_POINT = 16  # bytes: x, y, z and remission in float32
_LABEL = 4  # bytes: the class in the lower half, the instance in the upper


@dataclass(frozen=True, eq=False)
class Scan:
    """One turn of the scanner.

    Args:
        points: x (ahead), y (left) and z (up) in metres, and remission in [0, 1].
        labels: the class of each point, 0 where it has none.
        view: the scan as a picture, and the way back from its pixels to the points.
    """

    points: Float[Tensor, "P 4"]
    labels: Int[Tensor, "P"]
    view: RangeImage


class SemanticKITTI(Dataset[tuple[Tensor, Tensor]]):
    """Scans as range images `(5, H, W)` with labels `(H, W)`, each read when it is asked for.

    The folder is `semantickitti` below the one that DUDA_DATA names, as published:
    `sequences/00/velodyne/*.bin`, `sequences/00/labels/*.label` and `semantic-kitti.yaml`. Points
    without a class, empty pixels and the test part, whose labels are secret, have class 0: train
    with `duda.Categorical(ignore_index=0)`.

    Args:
        part: `"train"`, `"valid"` or `"test"`, or numbers of sequences such as `[8]`.
        view: how points become pixels.
        transform: what to do to the points `(P, 4)` of a scan before, such as a random turn; their
            order and number must stay.

    Attributes:
        classes: names of the 20 classes, `"unlabeled"` first.
        colors: theirs in the official pictures, `(20, 3)`, in [0, 1].
        files: the scans, in their order.

    Raises:
        FileNotFoundError: if a folder or file is missing; says where to get it.
        ValueError: if a file is damaged, or a label unknown.
    """

    colours = OldAttribute("colors")

    def __init__(
        self,
        part: str | Sequence[int],
        view: RangeView | None = None,
        transform: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self._folder = data_folder("semantickitti", (_YAML,), _SOURCE)
        self._map = read_label_map(self._folder / _YAML)
        self.classes, self.colors = self._map.names, self._map.colors
        self.view = RangeView() if view is None else view
        self.transform = transform
        self.files: list[Path] = []
        for sequence in _sequences(part, self._map):
            secret = sequence in self._map.split["test"]
            self.files += _checked_files(self._folder / "sequences" / f"{sequence:02}", secret)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "5 H W"], Int[Tensor, "H W"]]:
        scan = self.scan(index)
        return scan.view.image, scan.view.to_pixels(scan.labels)

    def scan(self, index: int) -> Scan:
        """Return the scan with all its points."""
        path = self.files[index]
        points = _points(path)
        labels = self._labels(path, len(points))
        if self.transform is not None:
            points = _transformed(points, self.transform)
        return Scan(points, labels, self.view.project(points))

    def _labels(self, scan: Path, count: int) -> Tensor:
        if int(scan.parents[1].name) in self._map.split["test"]:
            return torch.zeros(count, dtype=torch.int64)
        path = _label_file(scan)
        raw = np.fromfile(path, "<u4") & 0xFFFF
        labels = self._map.table[raw]
        if (labels < 0).any():
            raise ValueError(
                f"`{path}` has the label {raw[labels < 0][0]} at {(labels < 0).sum()} of {count} "
                f"points, which `{self._folder / _YAML}` does not know: get both again from "
                f"{_SOURCE}."
            )
        return torch.from_numpy(labels)


def _sequences(part: str | Sequence[int], label_map: LabelMap) -> Sequence[int]:
    if isinstance(part, str):
        if part not in label_map.split:
            raise ValueError(nearest(part, label_map.split, "part of SemanticKITTI"))
        return label_map.split[part]
    known = sorted(number for numbers in label_map.split.values() for number in numbers)
    if not _are_different(part, known):
        raise ValueError(
            f"`part` is {part!r}, expected the name of a part or different numbers of sequences, "
            f"from {known[0]} to {known[-1]}."
        )
    return part


def _are_different(numbers: Sequence[int], known: Sequence[int]) -> bool:
    """Say whether these are one or more of the known numbers, none of them twice."""
    if not isinstance(numbers, Sequence) or not all(
        isinstance(plain_number(each), int) for each in numbers
    ):
        return False
    return 0 < len(numbers) == len(set(numbers) & set(known))


def _checked_files(folder: Path, secret: bool) -> list[Path]:
    """Return a sequence's scans, if each is whole and has as many labels as points."""
    scans = _sizes(folder / "velodyne", ".bin")
    for path, size in scans.items():
        if size == 0 or size % _POINT:
            raise ValueError(
                f"`{path}` has {size} bytes, expected {_POINT} for each point: get the whole file "
                f"again from {_SOURCE}."
            )
    if not secret:
        _check_labels(scans, _sizes(folder / "labels", ".label"))
    return list(scans)


def _check_labels(scans: dict[Path, int], labels: dict[Path, int]) -> None:
    pairs = {_label_file(path): path for path in scans}
    alone = sorted([path for path in pairs if path not in labels] + [*(labels.keys() - pairs)])
    if alone:
        raise FileNotFoundError(
            f"`{alone[0].parent}` has {len(labels)} labels for {len(scans)} scans in "
            f"`{next(iter(scans)).parent}`, and {alone[0].stem} is in one of them alone: get what "
            f"is missing from {_SOURCE}."
        )
    for path, size in labels.items():
        points = scans[pairs[path]] // _POINT
        if size != _LABEL * points:
            raise ValueError(
                f"`{path}` has {size} bytes, expected {_LABEL * points}, {_LABEL} for each of the "
                f"{points} points in `{pairs[path]}`: get both again from {_SOURCE}."
            )


def _sizes(folder: Path, suffix: str) -> dict[Path, int]:
    """Return the size of each file of a kind, in the order of their names."""
    if not folder.is_dir():
        above = next(parent for parent in folder.parents if parent.is_dir())
        there = ", ".join(sorted(path.name for path in above.iterdir())) or "nothing"
        raise FileNotFoundError(
            f"there is no folder `{folder}`, only {there} in `{above}`: get the sequence from "
            f"{_SOURCE}, or name those that are there, such as `SemanticKITTI([8])`."
        )
    # Some archives hold `._name` beside each file.
    found = sorted(path for path in folder.glob(f"*{suffix}") if not path.name.startswith("."))
    if not found:
        raise FileNotFoundError(
            f"`{folder}` has no {suffix} file: get the sequence from {_SOURCE}."
        )
    return {path: path.stat().st_size for path in found}


def _label_file(scan: Path) -> Path:
    return scan.parents[1] / "labels" / f"{scan.stem}.label"


def _points(path: Path) -> Tensor:
    points = torch.from_numpy(np.fromfile(path, "<f4").reshape(-1, 4))
    check_finite(points, str(path), f"get it again from {_SOURCE}")
    return points


def _transformed(points: Tensor, transform: Callable[[Tensor], Tensor]) -> Tensor:
    changed = transform(points)
    if changed.shape != points.shape:
        raise ValueError(
            f"`transform` gave points of shape {tuple(changed.shape)}, expected "
            f"{tuple(points.shape)}, as many in the same order, since each has a label."
        )
    return changed
