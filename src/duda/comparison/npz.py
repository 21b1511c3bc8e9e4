"""Files of numpy arrays (`.npz`) of any origin: read to the end and checked, or one sentence."""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

import numpy as np

__all__ = ["read_npz"]

_FREE = 2**28  # bytes that any file may unpack to
_MOST = 100  # and beyond these, as many times as it is long
_LONG = 120  # characters of what numpy has to say


def read_npz(
    path: str | os.PathLike[str], wanted: Sequence[str]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the arrays with these names, and the names of all that the file holds.

    Other arrays are not unpacked, and nothing is ever unpickled.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is something else, damaged, or unpacks to far more than it is long.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file at `{path}`, expected predictions in an .npz file.")
    with Path(path).open("rb") as file:
        limit = _FREE + _MOST * file.seek(0, os.SEEK_END)
        try:
            with ZipFile(file) as archive:
                named: dict[str, list[ZipInfo]] = defaultdict(list)
                for member in archive.infolist():
                    named[member.filename.removesuffix(".npy")].append(member)
                found = {name: _numpys(name, named[name]) for name in wanted if name in named}
                _check_size(found.values(), limit)
                return {name: _array(archive, name, found[name]) for name in found}, list(named)
        except Exception as error:  # of many kinds: zipfile, zlib and numpy have no list of them
            why = str(error).partition("\n")[0][:_LONG].rstrip(".") or type(error).__name__
            raise ValueError(
                f"`{path}` is no .npz file of numbers ({why}): {_remedy(path)}."
            ) from error


def _remedy(path: str | os.PathLike[str]) -> str:
    """Return how to make such a file, of what a table or a single array holds too."""
    ending = Path(path).suffix.lower()
    how = {
        **dict.fromkeys((".csv", ".tsv", ".txt", ".parquet"), "read its columns by pandas"),
        ".npy": "load the array by `numpy.load`",
    }.get(ending)
    save = "`numpy.savez(path, mean=..., std=..., y=...)`, or `probs=` and `labels=`"
    return f"{how} and write {save}" if how else "write one by `numpy.savez`"


def _numpys(name: str, members: list[ZipInfo]) -> ZipInfo:
    """Return the one member with this name, if numpy may have written it."""
    if len(members) > 1:
        raise ValueError(f"`{name}` is there {len(members)} times")
    if members[0].compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise ValueError(f"`{name}` is compressed in a way that numpy does not know")
    return members[0]


def _check_size(members: Iterable[ZipInfo], limit: int) -> None:
    total = sum(member.file_size for member in members)
    if total > limit:
        raise ValueError(
            f"it unpacks to {total / 1e6:,.0f} MB, but a file of its size may to "
            f"{limit / 1e6:,.0f} at most"
        )


def _array(archive: ZipFile, name: str, member: ZipInfo) -> np.ndarray:
    with archive.open(member) as stream, warnings.catch_warnings(action="ignore"):
        array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
        # At its end the checksum is compared, which a header with a smaller shape keeps it from.
        if stream.read(1):
            raise ValueError(f"`{name}` goes on behind its last number")
    return array
