"""MNIST and its twin Fashion-MNIST, in the idx format of LeCun, Cortes & Burges."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from duda.datasets.base import Split, check_published, data_folder
from duda.datasets.fetch import fetch

__all__ = ["fashion_mnist", "fetch_mnist", "mnist", "read_idx"]

_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
_SOURCES = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "fashion-mnist": "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
}
_SHA256 = {  # of the published files, in the order of `_FILES`
    "mnist": (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
    "fashion-mnist": (
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
}
_CONTENT_SHA256 = {  # of what these pack, the same for each way to compress it
    "mnist": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    "fashion-mnist": (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}
_CLASSES = {
    "mnist": tuple(str(digit) for digit in range(10)),
    "fashion-mnist": (
        "T-shirt",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ),
}
_CLASS_COUNT = 10
_SIDE = 28
_UNSIGNED_BYTES = 8
_DIMENSIONS = 8  # at most; the format allows 255, and numpy 64
_LARGEST = 2**28  # bytes that a file may unpack to, five times what the largest of these does


def mnist(seed: int = 0) -> Split:
    """Return the official 60,000 training and 10,000 test digits; there is nothing to draw.

    Out of distribution are the test pictures of Fashion-MNIST, where its files are there, too.
    """
    return _load("mnist", other="fashion-mnist")


def fashion_mnist(seed: int = 0) -> Split:
    """Return the official 60,000 training and 10,000 test pictures of clothes; see `mnist`."""
    return _load("fashion-mnist", other="mnist")


def fetch_mnist(name: str, folder: Path) -> Path:
    """Fetch the four files of `"mnist"` or `"fashion-mnist"` into `folder`/`name`."""
    target = folder / name
    for file, checksum in zip(_FILES, _SHA256[name], strict=True):
        fetch(_SOURCES[name] + file, f"sha256:{checksum}", target / file)
    return target


def read_idx(path: Path) -> Tensor:
    """Return the unsigned bytes of a gzipped idx file, in the shape that it states.

    Raises:
        ValueError: if the file is truncated, corrupt or of another format.
    """
    source = "its official source"
    return _parsed(_unpacked(path, source), path, source)


def _unpacked(path: Path, source: str) -> bytes:
    packed = path.read_bytes()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
            content = stream.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise EOFError(f"it unpacks to more than {_LARGEST:,} bytes")
        return content
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"`{path}` has {len(packed):,} bytes, and is truncated or corrupt ({error}): get it "
            f"again from {source}."
        ) from error


def _parsed(content: bytes, path: Path, source: str) -> Tensor:
    if not content:
        raise ValueError(f"`{path}` is empty: get it again from {source}.")
    magic = bytes([0, 0, _UNSIGNED_BYTES])
    if len(content) < 4 or content[:3] != magic or content[3] > _DIMENSIONS:
        raise ValueError(
            f"`{path}` is no idx file of unsigned bytes, it starts with {content[:4].hex(' ')}: "
            f"get it again from {source}."
        )
    header = 4 + 4 * content[3]
    if len(content) < header:
        raise ValueError(f"`{path}` ends within its header: get it again from {source}.")
    shape = struct.unpack(f">{content[3]}I", content[4:header])
    if len(content) - header != prod(shape):
        raise ValueError(
            f"`{path}` has {len(content) - header} bytes of data, expected {prod(shape)} for its "
            f"shape {shape}: get it again from {source}."
        )
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy())


def _load(name: str, other: str) -> Split:
    folder = _folder(name, _FILES)
    ood = _test_images(other)
    return Split(
        name=name,
        task="classification",
        train=_examples(name, folder, *_FILES[:2]),
        test=_examples(name, folder, *_FILES[2:]),
        classes=_CLASSES[name],
        ood=ood,
        ood_name="" if ood is None else other,
    )


def _folder(name: str, files: tuple[str, ...]) -> Path:
    return data_folder(name, files, _source(name))


def _source(name: str) -> str:
    return f"{_SOURCES[name]} (`duda.datasets.download({name!r}, folder)` does that)"


def _test_images(name: str) -> Tensor | None:
    """Return the test pictures of a data set, nothing if they are not there."""
    try:
        folder = _folder(name, _FILES[2:3])
    except FileNotFoundError:
        return None
    return _images(name, folder / _FILES[2])


def _examples(name: str, folder: Path, images: str, labels: str) -> tuple[Tensor, Tensor]:
    return _images(name, folder / images), _labels(name, folder / labels)


def _images(name: str, path: Path) -> Tensor:
    content = _unpacked(path, _source(name))
    x = _parsed(content, path, _source(name))
    if x.shape[1:] != (_SIDE, _SIDE) or len(x) == 0:
        raise ValueError(
            f"`{path}` has shape {tuple(x.shape)}, expected (N, {_SIDE}, {_SIDE}): get it again "
            f"from {_source(name)}."
        )
    _check_published(content, path, name)
    return x.unsqueeze(1).float() / 255


def _labels(name: str, path: Path) -> Tensor:
    content = _unpacked(path, _source(name))
    y = _parsed(content, path, _source(name))
    if y.ndim != 1 or len(y) == 0 or int(y.max()) >= _CLASS_COUNT:
        held = f" and the label {int(y.max())}" if y.ndim == 1 and len(y) else ""
        raise ValueError(
            f"`{path}` has shape {tuple(y.shape)}{held}, expected (N,) labels from 0 to "
            f"{_CLASS_COUNT - 1}: get it again from {_source(name)}."
        )
    _check_published(content, path, name)
    return y.long()


def _check_published(content: bytes, path: Path, name: str) -> None:
    checksum = _CONTENT_SHA256[name][_FILES.index(path.name)]
    check_published(content, checksum, f"the unpacked content of `{path}`", _source(name))
