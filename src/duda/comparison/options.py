"""Options of training in a comparison: what the user gives, and what a built-in set needs."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from typing import Any

from duda.checks import check_count, nearest, plain_number
from duda.comparison.networks import Recipe
from duda.training import fit

__all__ = ["described", "fit_options"]

_OF_COMPARE = ("seed", "validation")
_LENGTHS = ("epochs", "steps")


def fit_options(
    given: Mapping[str, Any] | None, recipe: Recipe | None, **own: Any
) -> dict[str, Any]:
    """Return what to pass on to `duda.fit`.

    Args:
        given: options by name.
        recipe: what the built-in data set is known to need.
        own: some of the same, as arguments of `compare`; None for what is not given.

    Raises:
        ValueError: if an option is unknown, is there twice, or nothing says how long to train.
    """
    options = dict(given or {})
    known = [name for name in inspect.signature(fit).parameters if name not in ("model", "data")]
    for name in options:
        if name in _OF_COMPARE:
            raise ValueError(
                f"`fit` holds {name!r}, expected among the arguments of `compare` "
                f"({'`seeds`' if name == 'seed' else '`validation`'})."
            )
        if name == "log" and isinstance(options[name], str | os.PathLike):
            raise ValueError(
                "`fit` holds 'log' as a path, which each training would write anew, expected a "
                "function of a dict of figures."
            )
        if name not in known:
            raise ValueError(nearest(name, known, "option of `duda.fit`"))
    for name, value in own.items():
        if value is not None:
            if name in options:
                raise ValueError(f"`{name}` is given and in `fit`, expected in one of the two.")
            options[name] = value
    lengths = [name for name in _LENGTHS if options.get(name) is not None]
    if len(lengths) == 2:
        raise ValueError("`epochs` and `steps` are both given, expected one of them.")
    if recipe is not None:
        usual: dict[str, Any] = vars(recipe)
        if "optimizer" in options:  # whose learning rate is its own
            usual = {name: value for name, value in usual.items() if name != "lr"}
        if options.get("training") is not None:  # which says all but how long
            usual = {"epochs": recipe.epochs}
        if lengths == ["steps"]:
            usual = {name: value for name, value in usual.items() if name != "epochs"}
        options = usual | options
    lengths = lengths or [name for name in _LENGTHS if name in options]
    if not lengths:
        raise ValueError(
            "`epochs` is missing, expected for data of your own how often to see them: "
            "`epochs=20`, or `steps`."
        )
    options = {name: value for name, value in options.items() if value is not None}
    return options | {lengths[0]: check_count(options[lengths[0]], lengths[0])}


def described(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options as JSON can hold them: numbers as they are, others by name.

    >>> import torch
    >>> described({"epochs": 2, "optimizer": torch.optim.SGD})
    {'epochs': 2, 'optimizer': 'SGD'}
    """
    return {name: _described(value) for name, value in options.items()}


def _described(value: Any) -> Any:
    if value is None or isinstance(value, str | bool):
        return value
    number = plain_number(value)
    return getattr(value, "__name__", repr(value)) if number is None else number
