"""States as JSON, as version 0.1 kept what was fitted; `save` and `load` are for files."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from duda import fitted
from duda.files import json_number

__all__ = ["Fitted"]


@dataclass(eq=False)
class Fitted(fitted.Fitted):
    """Options, and what `fit` learned: the latter are fields with `init=False`."""

    def to_dict(self) -> dict[str, Any]:
        """Return all there is as numbers, texts, lists and None; superseded by `save`.

        Raises:
            ValueError: before `fit`.
        """
        state = self.state()
        _warn("to_dict", "save")
        return {"kind": type(self).__name__, **_plain(state["options"] | state["learned"])}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """Return what `to_dict` described; superseded by `load`.

        Raises:
            ValueError: if it described something else.
        """
        _warn("from_dict", "load")
        wanted = {"kind", *(each.name for each in fields(cls))}
        if state.keys() != wanted or state["kind"] != cls.__name__:
            raise ValueError(
                f"`state` holds {sorted(state)} for the kind {state.get('kind')!r}, expected "
                f"{sorted(wanted)} for {cls.__name__!r}: take what its `to_dict` returned."
            )
        learned = {e.name: _restored(state[e.name]) for e in fields(cls) if not e.init}
        options = {each.name: state[each.name] for each in fields(cls) if each.init}
        return cls._of_state({"options": options, "learned": learned})


def _warn(old: str, new: str) -> None:
    warnings.warn(
        f"`{old}` goes in the next version: call `{new}(path)`, whose files are checked.",
        DeprecationWarning,
        stacklevel=3,
    )


def _plain(value: Any) -> Any:
    """Return tensors as lists, with null for NaN and infinity by its name."""
    if isinstance(value, Tensor):
        return _plain(value.tolist())
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return json_number(value) if isinstance(value, float) else value


def _restored(value: Any) -> Any:
    return torch.from_numpy(np.array(_numbers(value))) if isinstance(value, list) else value


def _numbers(value: Any) -> Any:
    if isinstance(value, list):
        return [_numbers(each) for each in value]
    if value is None:
        return math.nan
    return float(value) if isinstance(value, str) else value
