"""Deprecation of public names: the old ones stay for one version, with a warning."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["renamed"]


def renamed(package: str, places: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package some of whose names are others now.

    Args:
        package: its `__name__`.
        places: by old name, where it is now: `"duda.evaluation.NearestNeighbors"`.

    >>> old = renamed("duda.likelihoods", {"Normal": "duda.likelihoods.Gaussian"})
    >>> import pytest
    >>> with pytest.warns(DeprecationWarning, match="`duda.likelihoods.Normal` is now `duda.like"):
    ...     old("Normal")
    <class 'duda.likelihoods.gaussian.Gaussian'>
    """

    def find(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home, _, new = places[name].rpartition(".")
        warnings.warn(
            f"`{package}.{name}` is now `{places[name]}`: the old name goes in the next version.",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(importlib.import_module(home), new)

    return find
