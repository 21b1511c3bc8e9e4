"""Calls of linear and convolutional layers, taken apart to be made with other inputs or weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

__all__ = ["layer_call"]

_ARGUMENTS = ("input", "weight", "bias")


def layer_call(
    func: Callable[..., Tensor], args: Any, kwargs: dict[str, Any]
) -> tuple[Callable[..., Tensor], Tensor, Tensor, Tensor | None]:
    """Return a call of a layer as a function of input, weight and bias, and what these are."""
    given = dict(zip(_ARGUMENTS, args, strict=False)) | kwargs
    options = {name: value for name, value in kwargs.items() if name not in _ARGUMENTS}

    def layer(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return func(x, weight, bias, *args[len(_ARGUMENTS) :], **options)

    return layer, given["input"], given["weight"], given.get("bias")
