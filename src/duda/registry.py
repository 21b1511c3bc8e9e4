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
    for value in _own(package).values():
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
    """Return the names that a package imports from its own files, and its registries.

    >>> exported("duda.likelihoods")[:3]
    ['BetaGaussian', 'Categorical', 'Dirichlet']
    """
    return sorted(_own(package))


def _own(package: str) -> dict[str, object]:
    """Return the public names of a package but for modules and what it takes from other ones."""
    public = {
        name: value
        for name, value in vars(importlib.import_module(package)).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    # A registry is a dict, which says of no module that it comes from there.
    homes = {name: f"{getattr(value, '__module__', package)}." for name, value in public.items()}
    return {n: value for n, value in public.items() if homes[n].startswith(f"{package}.")}
