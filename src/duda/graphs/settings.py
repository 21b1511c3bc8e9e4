"""Settings of a network: all by which what it does may change, but for the values of weights."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from duda.inside import modules_in

__all__ = ["settings_of"]

_PLAIN = (type(None), bool, int, float, str)
_OF_TORCH = {*vars(nn.Module()), "_flat_weights", "_flat_weight_refs", "_compiled_call_impl"}


def settings_of(network: nn.Module) -> list[Any]:
    """Return what a network does with its weights: modules, their settings, and shapes.

    Modes are left out, and which weights are the same tensor is told.

    >>> dropout = nn.Dropout(0.1)
    >>> before = settings_of(dropout)
    >>> dropout.p = 0.2
    >>> settings_of(dropout) == before
    False
    """
    found: list[Any] = []
    numbers: dict[int, int] = {}
    for module in modules_in(network):
        found.append(type(module))
        for name, value in vars(module).items():
            if name not in _OF_TORCH:
                found.append((name, _form(value) if isinstance(value, Tensor) else _held(value)))
        found += [list(module._forward_hooks), list(module._forward_pre_hooks)]
        for name, each in (*module._parameters.items(), *module._buffers.items()):
            number = numbers.setdefault(id(each), len(numbers))
            found.append((name, number, None if each is None else _form(each)))
    return found


def _held(value: Any) -> Any:
    """Return what tells a value from others that a module may have in its place."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, tuple | list):
        return [_held(each) for each in value]
    if isinstance(value, dict):
        return [(name, _held(each)) for name, each in value.items()]
    if isinstance(value, Tensor | nn.Module) or callable(value):
        return id(value)
    plain = getattr(value, "__dict__", {})
    return type(value), [(name, each) for name, each in plain.items() if isinstance(each, _PLAIN)]


def _form(tensor: Tensor) -> Any:
    return tensor.shape, tensor.dtype, tensor.device
