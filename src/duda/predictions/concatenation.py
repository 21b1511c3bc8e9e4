"""Concatenation of predictions: one for the examples of all, which agree in all else."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import Tensor

from duda.doubts import doubt
from duda.predictions.over_examples import OverExamples
from duda.transfer import sent

__all__ = ["concatenated"]

P = TypeVar("P", bound=OverExamples)


def concatenated(family: type[P], predictions: Sequence[P]) -> P:
    """Return one prediction of the family for the examples of all, in order.

    Draws of other functions are joint no more.

    Raises:
        TypeError: if they are predictions of another kind.
        ValueError: if there are none, or they differ in more than the number of examples.
    """
    if not predictions:
        raise ValueError("`predictions` is empty, expected at least one prediction.")
    for prediction in predictions:
        if type(prediction) is not family:
            raise TypeError(
                f"`predictions` holds a {type(prediction).__name__}, expected each to be a "
                f"{family.__name__}."
            )
    if len(predictions) == 1:  # which is checked as a new one is
        return predictions[0]._changed(lambda name, value: _joined(name, [value]))
    parts = [prediction._over_examples() for prediction in predictions]
    rest = [
        {name: value for name, value in prediction._fields().items() if name not in part}
        for prediction, part in zip(predictions, parts, strict=True)
    ]
    for name in dict.fromkeys(chain(*rest)):
        for each in rest[1:]:
            _check_same(each.get(name), rest[0].get(name), name)
    if any(_shapes_of_one(part) != _shapes_of_one(parts[0]) for part in parts):
        raise ValueError(
            "`predictions` differ in their classes, outputs, positions or draws: predict all "
            "with one model and the same `keep_draws` and `samples`."
        )
    joined = {name: _joined(name, [part[name] for part in parts]) for name in parts[0]}
    found = family(**rest[0], **joined)
    drawn = {prediction.drawn for prediction in predictions}
    several = len(drawn - {None}) > 1  # so that no draw is one function for all
    return found.with_joint(found.joint and not several, None if len(drawn) > 1 else drawn.pop())


def _check_same(one: Any, other: Any, name: str) -> None:
    def look() -> None:
        raise ValueError(f"`predictions` differ in their `{name}`: predict all with one model.")

    if isinstance(one, Tensor) and isinstance(other, Tensor) and one.shape == other.shape:
        doubt(lambda: (one != sent(other, one.device)).any(), look)
    elif isinstance(one, Tensor) or isinstance(other, Tensor) or one != other:
        look()


def _joined(name: str, values: list[Any]) -> Any:
    if isinstance(values[0], OverExamples):
        return type(values[0]).concatenate(values)
    if len(values) == 1:
        return values[0]
    return torch.cat(values, dim=1 if name == "draws" else 0)


def _shapes_of_one(fields: dict[str, Tensor | OverExamples]) -> dict[str, Any]:
    """Return the shapes of what there is for each example, with their number left out."""
    return {
        name: type(value)
        if isinstance(value, OverExamples)
        else (len(value), *value.shape[2:])
        if name == "draws"
        else tuple(value.shape[1:])
        for name, value in fields.items()
    }
