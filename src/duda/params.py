"""Parameters by scikit-learn's rules: `get_params` and `set_params` for what is fitted."""

from __future__ import annotations

import inspect
from typing import Any, Self

from duda.checks import nearest

__all__ = ["Params"]


class Params:
    """An object whose attributes bear the names of its constructor's arguments.

    So that `sklearn.base.clone`, grid searches and pipelines can handle it.

    >>> from duda.decisions import ConformalRegressor
    >>> ConformalRegressor().set_params(alpha=0.2).get_params()
    {'alpha': 0.2, 'score': 'normalized'}
    """

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's arguments by name.

        Args:
            deep: whether to add those of arguments that have some themselves, as `name__of_it`.
        """
        own = {name: getattr(self, name) for name in _names(type(self))}
        inner: dict[str, Any] = {}
        for name, value in own.items():
            if deep and isinstance(value, Params):
                inner |= {f"{name}__{key}": each for key, each in value.get_params().items()}
        return own | inner

    def set_params(self, **params: Any) -> Self:
        """Set arguments of the constructor, which forgets what was fitted, and return the object.

        Raises:
            ValueError: if there is no such argument, or the constructor refuses its value; nothing
                is changed then.
        """
        known = self.get_params()
        for name in params:
            if name not in known:
                raise ValueError(nearest(name, known, "parameter"))
        own = {name: value for name, value in params.items() if "__" not in name}
        if own:
            made = type(self)(**self.get_params(deep=False) | own)
            self.__dict__.clear()
            self.__dict__.update(made.__dict__)
        for name, value in params.items():
            if name not in own:
                outer, _, rest = name.partition("__")
                getattr(self, outer).set_params(**{rest: value})
        return self


def _names(cls: type[Params]) -> list[str]:
    return list(inspect.signature(cls).parameters)
