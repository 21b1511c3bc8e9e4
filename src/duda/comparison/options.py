"""Options of training in a comparison: what the user gives, and what a built-in set needs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from duda.checks import check_count, nearest, plain_number
from duda.comparison.networks import Recipe
from duda.training import fit

__all__ = ["described", "fit_options"]

_OF_COMPARE = ("seed", "validation")


def fit_options(
    given: Mapping[str, Any] | None, epochs: int | None, recipe: Recipe | None
) -> dict[str, Any]:
    """Return what to pass on to `duda.fit`.

    Args:
        given: options by name.
        epochs: the same as the option.
        recipe: what the built-in data set is known to need.

    Raises:
        ValueError: if an option is unknown, is there twice, or `epochs` are missing.
    """
    options = dict(given or {})
    known = [name for name in inspect.signature(fit).parameters if name not in ("model", "data")]
    for name in options:
        if name in _OF_COMPARE:
            raise ValueError(
                f"`fit` holds {name!r}, expected among the arguments of `compare` "
                f"({'`seeds`' if name == 'seed' else '`validation`'})."
            )
        if name not in known:
            raise ValueError(nearest(name, known, "option of `duda.fit`"))
    if epochs is not None:
        if "epochs" in options:
            raise ValueError("`epochs` is given and in `fit`, expected in one of the two.")
        options["epochs"] = epochs
    if recipe is not None:
        usual: dict[str, Any] = vars(recipe)
        if "optimizer" in options:  # whose learning rate is its own
            usual = {name: value for name, value in usual.items() if name != "lr"}
        if options.get("training") is not None:  # which says all but how long
            usual = {"epochs": recipe.epochs}
        options = usual | options
    if "epochs" not in options:
        raise ValueError(
            "`fit` has no 'epochs', expected for data of your own how often to see them: "
            "`fit={'epochs': 20}`."
        )
    return options | {"epochs": check_count(options["epochs"], "epochs")}


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
