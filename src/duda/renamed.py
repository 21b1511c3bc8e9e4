"""Deprecation of public names: the old ones stay for one version, with a warning."""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any, ParamSpec, TypeVar

__all__ = ["OldAttribute", "renamed", "renamed_arguments"]

P = ParamSpec("P")
R = TypeVar("R")


def renamed(
    package: str, places: Mapping[str, str], lazy: Collection[str] = ()
) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package some of whose names are others now.

    It stands below `if not TYPE_CHECKING`, or a type checker would take any misspelled name.

    Args:
        package: its `__name__`.
        places: by old name, where it is now: `"duda.detectors.NearestNeighbors"`.
        lazy: heavy modules in the package, to be imported when they are first used.

    >>> old = renamed("duda.likelihoods", {"Normal": "duda.likelihoods.Gaussian"})
    >>> import pytest
    >>> with pytest.warns(DeprecationWarning, match="`duda.likelihoods.Normal` is now `duda.like"):
    ...     old("Normal")
    <class 'duda.likelihoods.gaussian.Gaussian'>
    """

    def find(name: str) -> Any:
        if name in lazy:
            return importlib.import_module(f"{package}.{name}")
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home, _, new = places[name].rpartition(".")
        _warn(f"`{package}.{name}`", places[name])
        return getattr(importlib.import_module(home), new)

    return find


def renamed_arguments(**names: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator for a function some of whose arguments had other names.

    >>> double = renamed_arguments(colour="color")(lambda color: 2 * color)
    >>> import pytest
    >>> with pytest.warns(DeprecationWarning, match="the argument `colour` is now `color`"):
    ...     double(colour="red")
    'redred'
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            for old in names.keys() & kwargs.keys():
                _warn(f"the argument `{old}`", names[old])
                kwargs[names[old]] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate


class OldAttribute:
    """An attribute that has another name now.

    >>> class Car:
    ...     color, colour = "red", OldAttribute("color")
    >>> import pytest
    >>> with pytest.warns(DeprecationWarning, match="`Car.colour` is now `color`"):
    ...     Car().colour
    'red'
    """

    def __init__(self, new: str) -> None:
        self.new = new

    def __set_name__(self, owner: type, name: str) -> None:
        self.old = f"`{owner.__name__}.{name}`"

    def __get__(self, instance: object | None, owner: type) -> Any:
        if instance is None:  # as documentation asks
            return self
        _warn(self.old, self.new)
        return getattr(instance, self.new)


def _warn(old: str, new: str) -> None:
    """Warn at the line that uses the old name, two calls up."""
    warnings.warn(
        f"{old} is now `{new}`: the old name goes in the next version.",
        DeprecationWarning,
        stacklevel=3,
    )
