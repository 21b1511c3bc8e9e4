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
_MD5 = {  # of the published files, in the order of `_FILES`
    "mnist": (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    "fashion-mnist": (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
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
_UNSIGNED_BYTES = 8


def mnist(seed: int = 0) -> Split:
    """Return the official 60,000 training and 10,000 test digits; there is nothing to draw."""
    return _load("mnist")


def fashion_mnist(seed: int = 0) -> Split:
    """Return the official 60,000 training and 10,000 test pictures of clothes."""
    return _load("fashion-mnist")


def download(name: str, folder: str | Path) -> Path:
    """Fetch the four files of `"mnist"` or `"fashion-mnist"` into `folder`/`name`.

    Files that are there already are only checked.

    Raises:
        ValueError: if the name is unknown, or a file is not the published one.
    """
    import pooch

    if name not in _SOURCES:
        raise ValueError(nearest(name, _SOURCES, "download"))
    target = Path(folder) / name
    for file, md5 in zip(_FILES, _MD5[name], strict=True):
        pooch.retrieve(_SOURCES[name] + file, f"md5:{md5}", fname=file, path=target)
    return target


def read_idx(path: Path) -> Tensor:
    """Return the unsigned bytes of a gzipped idx file, in the shape that it states.

    Raises:
        ValueError: if the file is truncated, corrupt or of another format.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"`{path}` is truncated or corrupt ({error}): get it again.") from error
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


def _load(name: str) -> Split:
    source = f"{_SOURCES[name]} (or call `duda.datasets.download({name!r}, folder)`)"
    folder = data_folder(name, _FILES, source)
    return Split(
        name=name,
        task="classification",
        train=_pictures(folder / _FILES[0], folder / _FILES[1]),
        test=_pictures(folder / _FILES[2], folder / _FILES[3]),
        classes=_CLASSES[name],
    )


def _pictures(images: Path, labels: Path) -> tuple[Tensor, Tensor]:
    x, y = read_idx(images), read_idx(labels)
    if x.ndim != 3 or y.ndim != 1 or len(x) != len(y) or len(x) == 0:
        raise ValueError(
            f"`{images}` holds {tuple(x.shape)} and `{labels}` {tuple(y.shape)}, expected "
            "(N, height, width) and (N,): get both again."
        )
    if int(y.max()) > 9:
        raise ValueError(
            f"`{labels}` holds the label {int(y.max())}, expected 0 to 9: get it again."
        )
    return x.unsqueeze(1).float() / 255, y.long()
