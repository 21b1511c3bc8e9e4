"""The last layer of a network, which some methods treat apart from the rest."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

from torch import nn

__all__ = ["last_linear", "with_last_linear"]


def last_linear(network: nn.Module) -> tuple[str, nn.Linear]:
    """Return the name and the module of the linear layer that was registered last.

    Raises:
        ValueError: if there is none.

    >>> last_linear(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)))
    ('2', Linear(in_features=8, out_features=3, bias=True))
    """
    found = [
        (name, module) for name, module in network.named_modules() if type(module) is nn.Linear
    ]
    if not found:
        raise ValueError(
            f"the network, a {type(network).__name__}, has no `nn.Linear`, expected one as its "
            "last layer."
        )
    return found[-1]


def with_last_linear(network: nn.Module, make: Callable[[nn.Linear], nn.Module]) -> nn.Module:
    """Return a copy of the network with what `make` makes of the last linear layer in its place.

    Raises:
        ValueError: if there is no linear layer.

    >>> with_last_linear(nn.Sequential(nn.ReLU(), nn.Linear(8, 3)), lambda linear: nn.Identity())
    Sequential(
      (0): ReLU()
      (1): Identity()
    )
    """
    copy = deepcopy(network)
    name, linear = last_linear(copy)
    made = make(linear).to(linear.weight.device, linear.weight.dtype)
    if not name:
        return made
    copy.set_submodule(name, made)
    return copy
