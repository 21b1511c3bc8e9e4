"""Files of what was fitted: nested states with tensors in one safetensors file, checked when read.

Whoever keeps things has a `Format`: `DETECTOR = Format("detector")`, `DETECTOR.write(path, kind,
state)`, `kind, state = DETECTOR.read(path)`. A state is a dict of tensors, numbers, texts, lists,
tuples and dicts of these; nothing is pickled.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from duda.files import write_atomically
from duda.trees import checksum, flatten, unflatten

__all__ = ["Format", "checksum_of", "holding", "read_safetensors"]


@dataclass(frozen=True)
class Format:
    """One kind of file, whose name and version stand in each.

    Args:
        noun: what the files hold, as errors call it: "detector".
        version: of what stands in a state; files of a later one are refused.
    """

    noun: str
    version: int = 1

    @property
    def name(self) -> str:
        """What a file says it is, such as "duda.detector"."""
        return f"duda.{self.noun.replace(' ', '-')}"

    def write(self, path: str | os.PathLike[str], kind: str, state: Mapping[str, Any]) -> Path:
        """Write a state of some kind, such as the name of a class, whole or not at all.

        Raises:
            TypeError: if the state holds what no file can.
            OSError: if the file cannot be written.
        """
        from safetensors.torch import save

        tensors: dict[str, Tensor] = {}
        metadata = {
            "format": self.name,
            "version": str(self.version),
            "kind": kind,
            "duda": sys.modules["duda"].__version__,  # whose face no module of it imports
            "content": json.dumps(flatten(dict(state), tensors), allow_nan=False),
        }
        metadata["checksum"] = checksum_of(metadata, tensors)
        # Not save_file: killed, it would leave a file with a name of its own behind.
        return write_atomically(path, save(tensors, metadata))

    def wrote(self, path: str | os.PathLike[str]) -> bool:
        """Return whether a file says that it is one of these, whole or damaged."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                return (file.metadata() or {}).get("format") == self.name
        except (OSError, SafetensorError):
            return False

    def read(self, path: str | os.PathLike[str]) -> tuple[str, dict[str, Any]]:
        """Return the kind and the state that `write` was given.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is damaged, holds something else, or is of a later version.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(
                f"no {self.noun} at `{path}`: save one with `{self.noun.split()[-1]}.save(path)`."
            )
        metadata, tensors = read_safetensors(path)
        if metadata.get("format") != self.name:
            raise ValueError(
                f"`{path}` holds a {metadata.get('format', 'set of tensors')!r}, expected a "
                f"{self.name!r}: give the path of a saved {self.noun}."
            )
        version = metadata.get("version", "")
        if not version.isdecimal() or int(version) > self.version:
            raise ValueError(
                f"`{path}` holds a {self.noun} in version {version!r} of its format, expected at "
                f"most {self.version}: update duda."
            )
        if metadata.pop("checksum", None) != checksum_of(metadata, tensors):
            raise ValueError(f"`{path}` is damaged, its checksum is wrong: save it again.")
        try:
            state = unflatten(json.loads(metadata.get("content", "")), tensors)
        except (KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
            raise ValueError(f"`{path}` holds a {self.noun} with no readable state.") from error
        if not isinstance(state, dict):
            raise ValueError(f"`{path}` holds a {self.noun} whose state is no dict.")
        return metadata.get("kind", ""), state


@contextmanager
def holding(path: str | os.PathLike[str], kind: str) -> Iterator[None]:
    """Say of which file it is that something of this kind cannot be made.

    Raises:
        ValueError: in place of any error, as a file may hold anything in place of anything.
    """
    try:
        yield
    except Exception as error:
        raise ValueError(f"`{path}` holds no valid {kind}: {error}") from error


def read_safetensors(path: str | os.PathLike[str]) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return the metadata and the tensors of a safetensors file.

    Raises:
        ValueError: if the file is damaged or something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            # Copies: the file may be replaced while its pages are still mapped.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
            return file.metadata() or {}, tensors
    except SafetensorError as error:
        why = str(error).rstrip(".")
        raise ValueError(f"`{path}` is no whole safetensors file: {why}; save it again.") from error


def checksum_of(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """Return the CRC-32 of texts by name, and of tensors with their names, dtypes and shapes.

    >>> import torch
    >>> checksum_of({}, {"a": torch.ones(1)}) == checksum_of({}, {"b": torch.ones(1)})
    False
    """
    total = zlib.crc32(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        kind = f"{name} {tensors[name].dtype} {list(tensors[name].shape)}"
        total = checksum(tensors[name], zlib.crc32(kind.encode(), total))
    return f"{total:08x}"
