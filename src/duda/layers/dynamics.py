"""Dynamics of a block: the network that says which way its state moves, f(h) or f(t, h)."""

from __future__ import annotations

import inspect

from torch import nn

__all__ = ["takes_time"]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def takes_time(dynamics: nn.Module, name: str) -> bool:
    """Return whether the `forward` of a module needs a time before the state.

    Raises:
        TypeError: if it is no module, or needs another number of arguments.

    >>> takes_time(nn.Linear(2, 2), "dynamics")
    False
    """
    if not isinstance(dynamics, nn.Module):
        raise TypeError(
            f"`{name}` is a {type(dynamics).__name__}, expected a torch.nn.Module: write a "
            "function as the `forward` of one."
        )
    parameters = inspect.signature(dynamics.forward).parameters.values()
    needed = [p for p in parameters if p.kind in _POSITIONAL and p.default is p.empty]
    if len(needed) not in (1, 2):
        raise TypeError(
            f"`{name}` is a {type(dynamics).__name__} whose `forward` needs {len(needed)} "
            "arguments, expected `forward(self, h)` or `forward(self, t, h)`."
        )
    return len(needed) == 2
