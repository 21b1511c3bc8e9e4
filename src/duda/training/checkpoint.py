"""A run on disk: written whole after each epoch, and read back only by the run that it is of."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

from torch import Tensor

from duda.files import write_atomically
from duda.trees import checksum, flatten, unflatten

__all__ = ["Checkpoint"]

_FORMAT = "duda training checkpoint 2"


class Checkpoint:
    """A safetensors file with a nested state and the settings of the run.

    Args:
        path: of the file, which need not exist.
        settings: what must be the same for the run to go on, as JSON values.
    """

    def __init__(self, path: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.settings = json.loads(json.dumps(settings))
        if self.path.is_dir():
            raise ValueError(f"`checkpoint` {self.path} is a directory, expected a file in it.")

    def save(self, state: dict[str, Any]) -> None:
        """Write `state` so that whoever reads sees all of it or what was there before.

        Raises:
            OSError: if the directory cannot be made or written.
        """
        from safetensors.torch import save

        tensors: dict[str, Tensor] = {}
        tree = flatten(state, tensors)
        content = json.dumps({"settings": self.settings, "state": tree})
        metadata = {"format": _FORMAT, "content": content, "checksum": _checksum(content, tensors)}
        # Not save_file: killed, it would leave a file with a name of its own behind.
        write_atomically(self.path, save(tensors, metadata))

    def load(self) -> dict[str, Any] | None:
        """Return the state, or None if there is no file.

        Raises:
            ValueError: if the file is damaged, no checkpoint, or of another run.
        """
        self._remove_leftovers()
        if not self.path.exists():
            return None
        metadata, tensors = self._read()
        if metadata.get("format") != _FORMAT:
            raise ValueError(
                f"`checkpoint` {self.path} is no checkpoint that this version of duda can read: "
                "give another path, or delete it to start again."
            )
        content = metadata.get("content", "")
        if metadata.get("checksum") != _checksum(content, tensors):
            raise self._damaged("its checksum is wrong")
        found = json.loads(content)
        for name, value in self.settings.items():
            if found["settings"].get(name) != value:
                there, here = _difference(found["settings"].get(name), value)
                raise ValueError(
                    f"`checkpoint` {self.path} is of another run: its {name} is {there}, here it "
                    f"is {here}: give another path, or delete it to start again."
                )
        state: dict[str, Any] = unflatten(found["state"], tensors)
        return state

    def _read(self) -> tuple[dict[str, str], dict[str, Tensor]]:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, "pt") as file:
                # Copies: the file may be replaced while its pages are still mapped.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
                return file.metadata() or {}, tensors
        except SafetensorError as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, why: str) -> ValueError:
        return ValueError(
            f"`checkpoint` {self.path} is damaged ({why.rstrip('.')}): delete it to start again."
        )

    def _remove_leftovers(self) -> None:
        """Delete the temporary files of runs that were killed while they wrote."""
        stem, suffix = re.escape(f".{self.path.name}."), re.escape(self.path.suffix)
        pattern = re.compile(f"{stem}[a-z0-9_]{{8}}{suffix}")
        if self.path.parent.is_dir():
            for file in self.path.parent.iterdir():
                if pattern.fullmatch(file.name):
                    file.unlink(missing_ok=True)


def _checksum(content: str, tensors: Mapping[str, Tensor]) -> str:
    total = zlib.crc32(content.encode())
    for name in sorted(tensors):
        kind = f"{name} {tensors[name].dtype} {list(tensors[name].shape)}"
        total = zlib.crc32(kind.encode(), total)
        total = checksum(tensors[name], total)
    return f"{total:08x}"


def _difference(one: Any, other: Any) -> tuple[str, str]:
    """Return two settings that differ as text; of long lists the first items that differ."""
    texts = json.dumps(one), json.dumps(other)
    if max(map(len, texts)) <= 80:
        return texts
    if isinstance(one, list) and isinstance(other, list):
        return _difference(*next(pair for pair in zip_longest(one, other) if pair[0] != pair[1]))
    first, second = (text if len(text) <= 80 else f"{text[:77]}..." for text in texts)
    return first, second
