"""Settings of a network: all by which what it does may change, but for the values of weights."""

from __future__ import annotations

from typing import Any

from torch import nn

__all__ = ["settings_of"]

_PLAIN = (type(None), bool, int, float, str)


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
    for module in network.modules():
        found.append(type(module))
        for name, value in vars(module).items():
            if isinstance(value, _PLAIN) and name != "training":
                found.append((name, value))
            elif isinstance(value, tuple | list):
                found.append((name, [each for each in value if isinstance(each, _PLAIN)]))
            elif callable(value):
                found.append((name, id(value)))
        found += [list(module._forward_hooks), list(module._forward_pre_hooks)]
        for name, each in (*module._parameters.items(), *module._buffers.items()):
            number = numbers.setdefault(id(each), len(numbers))
            form = None if each is None else (each.shape, each.dtype, each.device)
            found.append((name, number, form))
    return found
