"""What is fitted on held-out data and then kept: options, what `fit` found, and both as JSON."""

from __future__ import annotations

import math
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
    """Options, and what `fit` learned: the latter are fields with `init=False`.

    >>> from duda.decisions import Temperature
    >>> state = Temperature().fit([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]], [0, 1, 1]).to_dict()
    >>> Temperature.from_dict(state).to_dict() == state
    True
    """

    def to_dict(self) -> dict[str, Any]:
        """Return all there is as numbers, texts, lists and None, which JSON can hold.

        Raises:
            ValueError: before `fit`.
        """
        self.check_fitted()
        values = {each.name: _plain(getattr(self, each.name)) for each in fields(self)}
        return {"kind": type(self).__name__} | values

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Self:
        """Return what `to_dict` described.

        Raises:
            ValueError: if it described something else.
        """
        wanted = {"kind", *(each.name for each in fields(cls))}
        if state.keys() != wanted or state["kind"] != cls.__name__:
            raise ValueError(
                f"`state` holds {sorted(state)} for the kind {state.get('kind')!r}, expected "
                f"{sorted(wanted)} for {cls.__name__!r}: take what its `to_dict` returned."
            )
        made = cls(**{each.name: state[each.name] for each in fields(cls) if each.init})
        for each in fields(cls):
            if not each.init:
                setattr(made, each.name, _restored(state[each.name]))
        return made


def _plain(value: Any) -> Any:
    """Return tensors as lists, with null for NaN and infinity by its name."""
    if isinstance(value, Tensor):
        return _plain(value.tolist())
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
