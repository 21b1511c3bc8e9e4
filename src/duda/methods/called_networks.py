"""The network in a model, and which names of targets it takes as inputs."""

from __future__ import annotations

import inspect

from torch import nn

__all__ = ["network_in", "taken_by"]

_NAMES = ("label", "y")  # `labels` are targets to all who take them


def taken_by(model: nn.Module) -> dict[str, bool]:
    """Return which of the names `label` and `y` a model's network takes, and whether it needs them.

    >>> class Place(nn.Module):
    ...     def forward(self, x, y): ...
    >>> import duda
    >>> taken_by(duda.Deterministic(Place(), duda.Categorical()))
    {'y': True}
    """
    network = network_in(model)
    if network is None:
        return {}
    try:
        parameters = inspect.signature(network.forward).parameters
    except ValueError:  # as of some scripted modules
        return {}
    found = {name: parameters[name] for name in _NAMES if name in parameters}
    return {name: each.default is inspect.Parameter.empty for name, each in found.items()}


def network_in(model: nn.Module) -> nn.Module | None:
    """Return the network that a model calls, or the first of them."""
    inner = getattr(model, "model", None)  # another method that it is around
    if isinstance(inner, nn.Module):
        return network_in(inner)
    members = getattr(model, "members", None)
    first = members[0] if isinstance(members, nn.ModuleList) else None
    network = getattr(model, "network", first)
    return network if isinstance(network, nn.Module) else None
