"""Registries: the classes of a package by name, read off the imports in its `__init__`.

`from duda.methods.swag import SWAG as SWAG` is all it takes to register a method: `as` makes the
name public for type checkers, which stands for the `__all__` that such an `__init__` lacks.
"""

from __future__ import annotations

import importlib
import inspect
from types import ModuleType
from typing import TypeVar

__all__ = ["exported", "registered"]

Kind = TypeVar("Kind")


def registered(package: str, kind: type[Kind]) -> dict[str, type[Kind]]:
    """Return the concrete subclasses that a package imports from its own files, by file.

    Args:
        package: its `__name__`; it calls this below its imports.
        kind: what they are subclasses of.

    Raises:
        ValueError: if two come from one file, which then names neither.

    >>> import duda
    >>> registered("duda.likelihoods", duda.likelihoods.Likelihood)["fixed-gaussian"]
    <class 'duda.likelihoods.fixed_gaussian.FixedGaussian'>
    """
    found: dict[str, type[Kind]] = {}
    for value in _public(package).values():
        if not isinstance(value, type) or not issubclass(value, kind) or inspect.isabstract(value):
            continue
        file = value.__module__.removeprefix(f"{package}.").partition(".")[0]
        key = file.replace("_", "-")
        if key in found:
            raise ValueError(
                f"`{package}` imports {found[key].__name__} and {value.__name__} from `{file}`, "
                "expected one from each file, because they are named after it: split the file."
            )
        found[key] = value
    return found


def exported(package: str) -> list[str]:
    """Return the names that a package makes public, and its registries.

    >>> exported("duda.likelihoods")[:3]
    ['Bernoulli', 'Beta', 'BetaGaussian']
    """
    return sorted(_public(package))


def _public(package: str) -> dict[str, object]:
    """Return what a package imports from duda or makes, but for modules and tools of this one."""
    found = {}
    for name, value in vars(importlib.import_module(package)).items():
        home = getattr(value, "__module__", package)  # a dict has none
        if name.startswith("_") or isinstance(value, ModuleType) or home == __name__:
            continue
        if home.partition(".")[0] == package.partition(".")[0]:
            found[name] = value
    return found
