"""Checkpoints: a run on disk, written whole after each epoch, read back only by the same run."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import Any

from duda.files import remove_leftovers
from duda.storage import Format

__all__ = ["Checkpoint"]

_FORMAT = Format("training checkpoint", version=5)


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
        _FORMAT.write(self.path, "run", {"settings": self.settings, "state": state})

    def load(self) -> dict[str, Any] | None:
        """Return the state, or None if there is no file.

        Raises:
            ValueError: if the file is damaged, no checkpoint, or of another run.
        """
        remove_leftovers(self.path)
        if not self.path.exists():
            return None
        try:
            _, found = _FORMAT.read(self.path)
        except ValueError as error:
            raise ValueError(
                f"`checkpoint` {self.path} is damaged, or no checkpoint that this version of duda "
                f"can read ({str(error).rstrip('.')}): delete it to start again, or give another "
                "path."
            ) from error
        with self.taken_up():
            settings, state = dict(found["settings"]), dict(found["state"])
        for name, value in self.settings.items():
            if settings.get(name) != value:
                there, here = _difference(settings.get(name), value)
                raise ValueError(
                    f"`checkpoint` {self.path} is of another run: its {name} is {there}, here it "
                    f"is {here}: give another path, or delete it to start again."
                )
        return state

    @contextmanager
    def taken_up(self) -> Iterator[None]:
        """Say of whatever goes wrong while the file's content is taken up that it is the file's."""
        try:
            yield
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(
                f"`checkpoint` {self.path} holds no training that could go on, although it is "
                f"whole ({type(error).__name__}: {str(error).splitlines()[0]}): delete it to start "
                "again, or give another path."
            ) from error


def _difference(one: Any, other: Any) -> tuple[str, str]:
    """Return two settings that differ as text; of long lists the first items that differ."""
    texts = json.dumps(one), json.dumps(other)
    if max(map(len, texts)) <= 80:
        return texts
    if isinstance(one, list) and isinstance(other, list):
        return _difference(*next(pair for pair in zip_longest(one, other) if pair[0] != pair[1]))
    first, second = (text if len(text) <= 80 else f"{text[:77]}..." for text in texts)
    return first, second
