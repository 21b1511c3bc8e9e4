"""Names of classes that a model has learned with its labels, kept in its state."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from duda.class_names import check_names
from duda.inside import modules_in

__all__ = ["NamedClasses"]

_KEY = "class_names"


class NamedClasses(nn.Module):
    """A module that may know its classes by name, and keeps the names in its `state_dict`.

    >>> one, other = NamedClasses(), NamedClasses()
    >>> one.classes = ["cat", "dog"]
    >>> other.load_state_dict(one.state_dict())
    <All keys matched successfully>
    >>> other.classes
    ('cat', 'dog')
    """

    _classes: tuple[str, ...] | None = None

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes in their order, if labels were words; else None.

        A model around others has theirs.
        """
        known = (each._classes for each in modules_in(self) if isinstance(each, NamedClasses))
        return next(filter(None, known), None)

    @classes.setter
    def classes(self, names: Iterable[str] | None) -> None:
        self._classes = None if names is None else check_names(names)

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self._classes is not None:
            text = json.dumps(self._classes).encode()
            destination[prefix + _KEY] = torch.frombuffer(bytearray(text), dtype=torch.uint8)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        found: Tensor | None = state_dict.pop(prefix + _KEY, None)
        if found is not None:
            self.classes = json.loads(found.cpu().numpy().tobytes())
        super()._load_from_state_dict(state_dict, prefix, *arguments)
