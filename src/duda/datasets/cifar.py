"""CIFAR-10 in its binary version, and CIFAR-10H: what people took its test pictures for."""

from __future__ import annotations

import hashlib
import io
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.datasets.base import Split, check_published, data_folder
from duda.datasets.fetch import fetch
from duda.files import write_atomically

__all__ = ["cifar_10", "cifar_10h", "fetch_cifar_10", "fetch_cifar_10h"]

_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
_SIDE = 32
_PICTURES = 10_000  # in each file
_RECORD = 1 + 3 * _SIDE**2  # a byte for the label, then the red, green and blue pixels
_FOLDER = "cifar-10-batches-bin"  # as the archive names it
_ARCHIVE = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
_ARCHIVE_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"  # published on the same site
_SOURCE = (
    f"{_ARCHIVE} (`duda.datasets.download('cifar-10', folder)` does that, and "
    "`duda.datasets.cifar_10(batches=(1,))` does with fewer batches)"
)
# Of the archive's members. The site has none; these are in common use, as in Ruby's torchvision,
# and the MD5 sums of the same files are those in the checks of other programs.
_SHA256 = {
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
_VOTES = "cifar10h-counts.npy"
_VOTES_URL = f"https://raw.githubusercontent.com/jcpeterson/cifar-10h/master/data/{_VOTES}"
# The source publishes none. This is of a copy whose `cifar10h-probs.npy` has the MD5 sum that
# torch-uncertainty checks, and is to the last bit these counts over their sums.
_VOTES_SHA256 = "1428924725020a238b51763eaf54396e639f4bcd9f50567d0eab63ab822cfb25"
_VOTES_SOURCE = (
    "https://github.com/jcpeterson/cifar-10h (`duda.datasets.download('cifar-10h', folder)` does "
    "that)"
)


def cifar_10(batches: Sequence[int] = (1, 2, 3, 4, 5)) -> Split:
    """Return CIFAR-10: 10,000 training pictures for each batch, and the 10,000 test pictures.

    Source: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images".

    Args:
        batches: which of the five training files to read, in this order.

    Raises:
        FileNotFoundError: if files are missing; says where to get them and where to put them.
        ValueError: if a file is not the published one, or `batches` names no batches.
    """
    wanted = tuple(batches)
    if not wanted or len({*wanted}) < len(wanted) or not {*wanted} <= {1, 2, 3, 4, 5}:
        raise ValueError(
            f"`batches` is {wanted}, expected one or more different numbers from 1 to 5."
        )
    files = [f"data_batch_{batch}.bin" for batch in wanted]
    folder = data_folder("cifar-10", [*files, "test_batch.bin"], _SOURCE, place=_FOLDER)
    parts = [_examples(folder / file) for file in files]
    return Split(
        name="cifar-10",
        task="classification",
        train=(torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])),
        test=_examples(folder / "test_batch.bin"),
        classes=_CLASSES,
    )


def cifar_10h() -> Int[Tensor, "10000 10"]:
    """Return how many of about 50 people took each test picture of CIFAR-10 for which class.

    Rows are in the order of `cifar_10().test`. `votes / votes.sum(1, keepdim=True)` are soft
    labels. Source: Peterson et al. 2019, "Human uncertainty makes classification more robust".

    Raises:
        FileNotFoundError: if the file is missing; says where to get it and where to put it.
        ValueError: if it is not the published one.
    """
    path = data_folder("cifar-10h", (_VOTES,), _VOTES_SOURCE) / _VOTES
    content = path.read_bytes()
    check_published(content, _VOTES_SHA256, f"`{path}`", _VOTES_SOURCE)
    votes: np.ndarray = np.load(io.BytesIO(content), allow_pickle=False)
    return torch.from_numpy(votes.astype(np.int64))


def fetch_cifar_10(folder: Path) -> Path:
    """Fetch the archive, and unpack the six files that are not in `folder` as published."""
    target = folder / _FOLDER
    wanted = [name for name in _SHA256 if not _is_published(target / name)]
    if wanted:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(
                f"cannot make the folder `{folder}` ({error}): choose one that you may write to."
            ) from error
        with tempfile.TemporaryDirectory(dir=folder, prefix=".cifar-10-") as place:
            archive = Path(place) / _ARCHIVE.rpartition("/")[2]
            fetch(_ARCHIVE, f"md5:{_ARCHIVE_MD5}", archive)
            _unpack(archive, wanted, target)
    return target


def fetch_cifar_10h(folder: Path) -> Path:
    """Fetch the votes into `folder`/cifar-10h."""
    target = folder / "cifar-10h"
    fetch(_VOTES_URL, f"sha256:{_VOTES_SHA256}", target / _VOTES)
    return target


def _is_published(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == _SHA256[path.name]


def _unpack(archive: Path, wanted: Sequence[str], target: Path) -> None:
    """Write the members to `target`, each whole or not at all, whatever paths others have."""
    with tarfile.open(archive) as members:
        for name in wanted:
            member = members.extractfile(f"{_FOLDER}/{name}")
            if member is None:
                raise ValueError(f"`{name}` in {_ARCHIVE} is no file, expected one.")
            content = member.read()
            check_published(content, _SHA256[name], f"`{name}` of {_ARCHIVE}", _SOURCE)
            write_atomically(target / name, content)


def _examples(path: Path) -> tuple[Float[Tensor, "N 3 32 32"], Int[Tensor, "N"]]:
    content = path.read_bytes()
    if len(content) != _PICTURES * _RECORD:
        raise ValueError(
            f"`{path}` has {len(content):,} bytes, expected {_PICTURES * _RECORD:,}, which are "
            f"{_PICTURES:,} labelled pictures: get it again from {_SOURCE}."
        )
    records = np.frombuffer(content, np.uint8).reshape(_PICTURES, _RECORD)
    if records[:, 0].max() >= len(_CLASSES):
        raise ValueError(
            f"`{path}` holds the label {records[:, 0].max()}, expected 0 to {len(_CLASSES) - 1}, "
            f"so it is not CIFAR-10's binary version: get it again from {_SOURCE}."
        )
    check_published(content, _SHA256[path.name], f"`{path}`", _SOURCE)
    pixels = torch.from_numpy(records[:, 1:].astype(np.float32)).div_(255)
    labels = torch.from_numpy(records[:, 0].astype(np.int64))
    return pixels.view(-1, 3, _SIDE, _SIDE), labels
