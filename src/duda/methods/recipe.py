"""Recipes of models in files: checked for their form before anything is made of them."""

from __future__ import annotations

import reprlib
from typing import Any

from torch import Tensor

__all__ = ["check_recipe", "check_sizes", "check_weights"]

_SIZES = ("members", "rank")  # of what is made
_PARTS = {"method": str, "arguments": dict, "left_out": list}


def check_recipe(recipe: Any) -> None:
    """Raise a `ValueError` unless this is what `save` writes of a model, whatever it names.

    >>> check_recipe({"method": "x", "arguments": {}, "left_out": ["likelihood"], "around": None})
    """
    whole = isinstance(recipe, dict) and recipe.keys() == {*_PARTS, "around"}
    if not whole or not all(isinstance(recipe[name], kind) for name, kind in _PARTS.items()):
        raise ValueError("it does not say how the model is made; save it again.")
    _check_settings(recipe["arguments"])
    if not all(isinstance(name, str) for name in recipe["left_out"]):
        raise ValueError("the arguments that it left out have no names; save it again.")
    if recipe["around"] is not None:
        check_recipe(recipe["around"])
        return
    likelihood = recipe["arguments"].get("likelihood")
    if "likelihood" not in recipe["left_out"] and not isinstance(likelihood, dict):
        raise ValueError(f"its `likelihood` is {likelihood!r}; save it again.")


def check_sizes(recipe: dict[str, Any], weights: dict[str, Tensor]) -> None:
    """Raise a `ValueError` if there are to be more members than a file with these weights can hold.

    To make them first, and find out then, might take all memory.
    """
    count = sum(each.numel() for each in weights.values())
    for name in _SIZES:
        size = recipe["arguments"].get(name, 0)
        if isinstance(size, int) and size > count:
            raise ValueError(f"its `{name}` is {reprlib.repr(size)}, of {count} numbers in all.")
    if recipe["around"] is not None:
        check_sizes(recipe["around"], weights)


def check_weights(weights: Any) -> None:
    """Raise a `ValueError` unless these are tensors by name."""
    named = isinstance(weights, dict) and all(isinstance(name, str) for name in weights)
    if not named or not all(isinstance(each, Tensor) for each in weights.values()):
        raise ValueError("its weights are no tensors by name; save it again.")


def _check_settings(arguments: dict[Any, Any]) -> None:
    if not all(isinstance(name, str) for name in arguments):
        raise ValueError("its arguments have no names; save it again.")
    for value in arguments.values():
        _check_setting(value)


def _check_setting(value: Any) -> None:
    """Raise a `ValueError` unless a value is plain, a network's place, or made of a kind."""
    if isinstance(value, list):
        for each in value:
            _check_setting(each)
    elif not isinstance(value, dict):
        if value is not None and not isinstance(value, int | float | str):
            raise ValueError(f"one of its arguments is a {type(value).__name__}; save it again.")
    elif value != {"network": True}:
        kind, arguments = value.get("kind"), value.get("arguments")
        if len(value) != 2 or not isinstance(kind, str) or not isinstance(arguments, dict):
            raise ValueError(f"one of its arguments has {sorted(map(str, value))}; save it again.")
        _check_settings(arguments)
