"""Text of results: their headline numbers first, tensors as shapes, so that a line tells enough."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

__all__ = ["Shown", "visible"]

_FEW = 4  # numbers that are shown one by one


class Shown:
    """A dataclass, made with `repr=False`, whose text is one line, however many its numbers.

    Attributes:
        headline: the properties that a reader asks for first.

    >>> from dataclasses import dataclass
    >>> import torch
    >>> @dataclass(frozen=True, repr=False)
    ... class Found(Shown):
    ...     headline = ("mean",)
    ...     values: torch.Tensor
    ...
    ...     @property
    ...     def mean(self) -> float:
    ...         return float(self.values.mean())
    >>> Found(torch.arange(6.0))
    Found(mean=2.5, values=(6,))
    """

    headline: ClassVar[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        names = (*self.headline, *(f.name for f in dataclasses.fields(self) if f.repr))  # type: ignore[arg-type] # a dataclass
        shown = (f"{name}={_short(getattr(self, name))}" for name in names)
        return f"{type(self).__name__}({', '.join(shown)})"


def visible(text: str) -> str:
    r"""Return a text with whatever steers a terminal, or cannot be written, spelled out.

    Names of files and of what is in them may come from anybody.

    >>> print(visible("red \x1b[31m, ± 1"))
    red \x1b[31m, ± 1
    """
    return "".join(
        each
        if each.isprintable() or unicodedata.category(each) == "Zs"
        else each.encode("unicode_escape").decode()
        for each in text
    )


def _short(value: Any) -> str:
    if isinstance(value, Tensor):
        few = value.ndim < 2 and value.numel() <= _FEW
        return _short(value.tolist()) if few else str(tuple(value.shape))
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return f"[{', '.join(map(_short, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(_short, value))}{',' * (len(value) == 1)})"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {_short(each)}' for key, each in value.items())}}}"
    return repr(value)
