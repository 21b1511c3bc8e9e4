"""Pascal VOC's layout of pictures with boxes, such as the blood cells of BCCD."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from duda.checks import nearest
from duda.datasets.base import data_folder

__all__ = ["BoxedPicture", "BoxedPictures", "voc"]

_SETS = "ImageSets/Main"
# Of sets that are known by name: their classes, and where they come from.
_KNOWN = {
    "bccd-voc": (("RBC", "WBC", "Platelets"), "https://github.com/Shenggan/BCCD_Dataset"),
}
_FORMATS = ("JPEG", "PNG", "BMP")  # whatever the name says; others may start programs
_LONGEST = 200  # characters of a name, with its ending within what systems take
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class BoxedPicture(NamedTuple):
    """A picture, and what lies where in it.

    Attributes:
        image: red, green and blue in [0, 1].
        boxes: left, top, right and bottom in pixels: the whole picture is (0, 0, W, H).
        labels: of each box, an index into `BoxedPictures.classes`.
        difficult: which boxes are marked as hard to make out; scores of Pascal VOC count neither
            finding nor missing them.
        name: of the file, without its ending.
    """

    image: Float[Tensor, "3 H W"]
    boxes: Float[Tensor, "K 4"]
    labels: Int[Tensor, "K"]
    difficult: Bool[Tensor, "K"]
    name: str


class BoxedPictures(Dataset[BoxedPicture]):
    """The pictures of an image set, decoded one by one as they are asked for; `voc` makes it.

    Attributes:
        names: of the pictures, in the order of the image set.
        classes: their names, by label.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], classes: Sequence[str], source: str
    ) -> None:
        self.names, self.classes = tuple(names), tuple(classes)
        self._folder, self._source = folder, source
        self._annotations = [
            _Annotation(_annotation_path(folder, name), self.classes, source) for name in self.names
        ]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> BoxedPicture:
        """Return a picture.

        Raises:
            ValueError: if its file is damaged, or has another size than its annotation says.
        """
        name, annotation = self.names[index], self._annotations[index]
        path = _picture_path(self._folder, name)
        image = _decoded(path, self._source)
        found = (image.shape[2], image.shape[1])
        if found != annotation.size:
            raise ValueError(
                f"`{path}` has the size {found} in pixels, expected {annotation.size} as in "
                f"`{annotation.path.name}`: get both again from {self._source}."
            )
        return BoxedPicture(
            image,
            annotation.boxes.clone(),
            annotation.labels.clone(),
            annotation.difficult.clone(),
            name,
        )


def voc(name: str, part: str = "train", *, classes: Sequence[str] | None = None) -> BoxedPictures:
    """Return the pictures that `ImageSets/Main/{part}.txt` names, with all of their boxes.

    Annotations count pixels from 1, and the last one belongs to the box, as in Pascal VOC: what
    they call 1 to 640 is 0 to 640 here, and a box whose corners coincide is a pixel wide.

    Args:
        name: a folder in the VOC layout, below the one that `DUDA_DATA` names.
        part: the image set.
        classes: their names, by label; known for `"bccd-voc"`.

    Raises:
        FileNotFoundError: if files are missing; says how many, and where to get them.
        ValueError: if an annotation is damaged, has a box that is empty or outside of its picture,
            or a class that is not in `classes`; boxes are neither clipped nor left out.

    Source: Everingham et al. 2010.

    >>> voc("my-pets")
    Traceback (most recent call last):
    ValueError: the classes of 'my-pets' are not known, expected `classes=` with their names, ...
    """
    if isinstance(classes, str):
        raise TypeError(
            f"`classes` is {classes!r}, expected several names, such as ({classes!r},)."
        )
    if classes is None and name not in _KNOWN:
        raise ValueError(
            f"the classes of {name!r} are not known, expected `classes=` with their names, such as "
            f"('cat', 'dog'), or one of the data sets {', '.join(_KNOWN)}."
        )
    known, source = _KNOWN.get(name, ((), "where you have the data set from"))
    folder, names = _image_set(name, part, source)
    _check_files(folder, names, part, source)
    return BoxedPictures(folder, names, known if classes is None else classes, source)


def _image_set(name: str, part: str, source: str) -> tuple[Path, list[str]]:
    """Return the folder of the data set, and the names of the pictures in one of its parts."""
    if not _is_below(name) or not _is_below(part):
        raise ValueError(
            f"there is no data set {name!r} with an image set {part!r}, expected names of folders "
            "and files below the one that DUDA_DATA names."
        )
    root = os.environ.get("DUDA_DATA")
    sets = Path(root or "") / name / _SETS
    parts = sorted(file.stem for file in sets.glob("*.txt")) if root else []
    if parts and part not in parts:
        raise FileNotFoundError(
            f"the data set {name!r} has no image set {part!r}, `{sets}` has {', '.join(parts)}: "
            f"choose one of them, or get `{part}.txt` from {source}."
        )
    folder = data_folder(name, (f"{_SETS}/{part}.txt",), source)
    path = folder / _SETS / f"{part}.txt"
    try:
        names = [line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise ValueError(f"`{path}` is no text ({error}): get it again from {source}.") from error
    odd = [line for line in names if len(line.split()) > 1 or not _is_below(line)]
    if odd or not names:
        found = f"has the line {odd[0]!r}" if odd else "is empty"
        raise ValueError(
            f"`{path}` {found}, expected the name of a picture in each line: choose another image "
            f"set, or get it again from {source}."
        )
    twice = [picture for picture, times in Counter(names).items() if times > 1]
    if twice:
        raise ValueError(
            f"`{path}` names {twice[0]!r} more than once, expected each picture once: get it again "
            f"from {source}."
        )
    return folder, names


def _is_below(name: str) -> bool:
    """Return whether a name is that of a file in a folder, on any system, or below it."""
    places = PurePosixPath(name), PureWindowsPath(name)
    inside = not any(place.anchor or ".." in place.parts for place in places)
    return inside and name.isprintable() and max(map(len, name.split("/"))) <= _LONGEST


def _check_files(folder: Path, names: Sequence[str], part: str, source: str) -> None:
    for what, path_of in (("pictures", _picture_path), ("annotations", _annotation_path)):
        paths = [path_of(folder, name) for name in names]
        absent = [path for path in paths if not path.is_file()]
        if absent:
            raise FileNotFoundError(
                f"`{folder}` lacks {len(absent)} of the {len(names)} {what} that `{part}.txt` "
                f"names, the first is `{absent[0].relative_to(folder)}`: get them from {source}."
            )


def _picture_path(folder: Path, name: str) -> Path:
    return folder / "JPEGImages" / f"{name}.jpg"


def _annotation_path(folder: Path, name: str) -> Path:
    return folder / "Annotations" / f"{name}.xml"


def _decoded(path: Path, source: str) -> Float[Tensor, "3 H W"]:
    from PIL import Image

    try:
        with Image.open(path, formats=_FORMATS) as picture:
            pixels = np.array(picture.convert("RGB"))
    except Exception as error:  # pillow has many for damaged files, and no list of them
        raise ValueError(
            f"`{path}` is no whole picture ({error}): get it again from {source}."
        ) from error
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255


class _Annotation:
    """What an annotation says: the size of its picture as (W, H), its boxes and their labels."""

    def __init__(self, path: Path, classes: Sequence[str], source: str) -> None:
        self.path, self._source = path, source
        try:
            root = ElementTree.parse(path).getroot()
        except (ElementTree.ParseError, LookupError, ValueError) as error:  # or of its encoding
            raise self._error(f"is no whole XML file ({error})") from error
        self.size = (int(self._number(root, "size/width")), int(self._number(root, "size/height")))
        objects = root.findall("object")  # not those within one, such as the hands of a person
        corners = [self._box(thing) for thing in objects]
        self.boxes = torch.tensor(corners, dtype=torch.float32).reshape(-1, 4)
        labels = [self._label(thing, classes) for thing in objects]
        self.labels = torch.tensor(labels, dtype=torch.int64)
        difficult = [thing.findtext("difficult", "0").strip() == "1" for thing in objects]
        self.difficult = torch.tensor(difficult, dtype=torch.bool)

    def _box(self, thing: Element) -> tuple[float, float, float, float]:
        corners = [self._number(thing, f"bndbox/{corner}") for corner in _CORNERS]
        left, top, right, bottom = corners[0] - 1, corners[1] - 1, *corners[2:]
        if right <= left or bottom <= top:
            raise self._error(f"has a box with no area, {self._described(corners)}")
        width, height = self.size
        if left < 0 or top < 0 or right > width or bottom > height:
            raise self._error(
                f"has the box {self._described(corners)}, expected it in its picture, from 1 to "
                f"{width} and 1 to {height}"
            )
        return left, top, right, bottom

    def _label(self, thing: Element, classes: Sequence[str]) -> int:
        name = (thing.findtext("name") or "").strip()
        if name not in classes:
            raise ValueError(
                f"`{self.path}`: {nearest(name, classes, 'class')[:-1]}: give all names as "
                f"`classes=`, or get the file again from {self._source}."
            )
        return classes.index(name)

    def _number(self, element: Element, where: str) -> float:
        text = element.findtext(where)
        try:
            value = float(text or "")
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self._error(f"has {text!r} for {where!r} of <{element.tag}>, expected a number")
        return value

    def _described(self, corners: Sequence[float]) -> str:
        return ", ".join(f"{k} {v:g}" for k, v in zip(_CORNERS, corners, strict=True))

    def _error(self, found: str) -> ValueError:
        return ValueError(f"`{self.path}` {found}: correct it, or get it from {self._source}.")
