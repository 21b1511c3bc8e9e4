"""MNIST and its twin Fashion-MNIST, in the idx format of LeCun, Cortes & Burges."""

from __future__ import annotations

import gzip
import struct
import zlib
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from duda.checks import nearest
from duda.datasets.base import Split, data_folder

__all__ = ["download", "fashion_mnist", "mnist", "read_idx"]

_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
_SOURCES = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "fashion-mnist": "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
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


def mnist(seed: int = 0) -> Split:
    """Return the official 60,000 training and 10,000 test digits; there is nothing to draw.

    Out of distribution are the test pictures of Fashion-MNIST, where its files are there, too.
    """
    return _load("mnist", other="fashion-mnist")


def fashion_mnist(seed: int = 0) -> Split:
    """Return the official 60,000 training and 10,000 test pictures of clothes; see `mnist`."""
    return _load("fashion-mnist", other="mnist")


def download(name: str, folder: str | Path) -> Path:
    """Fetch the four files of `"mnist"` or `"fashion-mnist"` into `folder`/`name`.

    Files that are there already, as published, stay; others of these names are replaced.

    Raises:
        ValueError: if the name is unknown, or what came is not the published file.
        OSError: if a file cannot be fetched or written.
    """
    if name not in _SOURCES:
        raise ValueError(nearest(name, _SOURCES, "download"))
    target = Path(folder) / name
    for file, checksum in zip(_FILES, _SHA256[name], strict=True):
        _fetch(_SOURCES[name] + file, checksum, target / file)
    return target


def _fetch(url: str, checksum: str, target: Path) -> None:
    import pooch

    try:
        pooch.retrieve(url, f"sha256:{checksum}", fname=target.name, path=target.parent)
    except ValueError as error:
        raise ValueError(
            f"{url} gave a file that is not the published one, by its SHA-256 checksum: try again, "
            f"or get it elsewhere and put it into `{target.parent}`."
        ) from error
    except OSError as error:  # what fails on the network is one, too
        raise OSError(
            f"cannot fetch {url} to `{target}` ({error}): check the connection and the folder, or "
            "put the file there yourself."
        ) from error


def read_idx(path: Path) -> Tensor:
    """Return the unsigned bytes of a gzipped idx file, in the shape that it states.

    Raises:
        ValueError: if the file is truncated, corrupt or of another format.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"`{path}` is truncated or corrupt ({error}): get it again.") from error
    if not content:
        raise ValueError(f"`{path}` is empty: get it again.")
    if len(content) < 4 or content[:3] != bytes([0, 0, _UNSIGNED_BYTES]):
        raise ValueError(
            f"`{path}` is no idx file of unsigned bytes, it starts with {content[:4].hex(' ')}: "
            "get it again."
        )
    header = 4 + 4 * content[3]
    if len(content) < header:
        raise ValueError(f"`{path}` ends within its header: get it again.")
    shape = struct.unpack(f">{content[3]}I", content[4:header])
    if len(content) - header != prod(shape):
        raise ValueError(
            f"`{path}` has {len(content) - header} bytes of data, expected {prod(shape)} for its "
            f"shape {shape}: get it again."
        )
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy())


def _load(name: str, other: str) -> Split:
    folder = _folder(name, _FILES)
    ood = _test_images(other)
    return Split(
        name=name,
        task="classification",
        train=_examples(folder, *_FILES[:2]),
        test=_examples(folder, *_FILES[2:]),
        classes=_CLASSES[name],
        ood=ood,
        ood_name="" if ood is None else other,
    )


def _folder(name: str, files: tuple[str, ...]) -> Path:
    source = f"{_SOURCES[name]} (`duda.datasets.download({name!r}, folder)` does that)"
    return data_folder(name, files, source)


def _test_images(name: str) -> Tensor | None:
    """Return the test pictures of a data set, nothing if they are not there."""
    try:
        folder = _folder(name, _FILES[2:3])
    except FileNotFoundError:
        return None
    return _images(folder / _FILES[2])


def _examples(folder: Path, images: str, labels: str) -> tuple[Tensor, Tensor]:
    x, y = _images(folder / images), read_idx(folder / labels)
    if y.shape != x.shape[:1]:
        raise ValueError(
            f"`{folder / labels}` has shape {tuple(y.shape)}, expected {(len(x),)}, one label for "
            f"each picture in `{images}`: get both again."
        )
    if int(y.max()) >= _CLASS_COUNT:
        raise ValueError(
            f"`{folder / labels}` holds the label {int(y.max())}, expected 0 to "
            f"{_CLASS_COUNT - 1}: get it again."
        )
    return x, y.long()


def _images(path: Path) -> Tensor:
    x = read_idx(path)
    if x.shape[1:] != (_SIDE, _SIDE) or len(x) == 0:
        raise ValueError(
            f"`{path}` has shape {tuple(x.shape)}, expected (N, {_SIDE}, {_SIDE}): get it again."
        )
    return x.unsqueeze(1).float() / 255
