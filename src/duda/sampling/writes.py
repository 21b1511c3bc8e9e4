"""Which tensor a torch call writes to."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from torch import Tensor

__all__ = ["written"]


def written(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Tensor | None:
    """Return the tensor that `func` writes to in place, or None.

    >>> import torch
    >>> x = torch.zeros(2)
    >>> written(torch.Tensor.add_, (x, 1), {}) is x, written(torch.add, (x, 1), {}) is None
    (True, True)
    """
    out = kwargs.get("out")
    if isinstance(out, Tensor):
        return out
    name = getattr(func, "__name__", "")
    place = _inplace_position(func)
    asked = kwargs.get("inplace", place is not None and len(args) > place and args[place])
    if asked or name in ("__setitem__", "__set__") or (name.endswith("_") and name[-2:] != "__"):
        first = args[0] if args else kwargs.get("input")
        return first if isinstance(first, Tensor) else None
    return None


@lru_cache(maxsize=1024)
def _inplace_position(func: Callable[..., Any]) -> int | None:
    """Return where `func` takes its argument `inplace`, if it has one."""
    if not inspect.isfunction(func):  # those of C end in an underscore instead
        return None
    names = list(inspect.signature(func, follow_wrapped=False).parameters)
    return names.index("inplace") if "inplace" in names else None
