"""The network in a model."""

from __future__ import annotations

from torch import nn

__all__ = ["network_in"]


def network_in(model: nn.Module) -> nn.Module | None:
    """Return the network that a model calls, or the first of them."""
    inner = getattr(model, "model", None)  # another method that it is around
    if isinstance(inner, nn.Module):
        return network_in(inner)
    members = getattr(model, "members", None)
    first = members[0] if isinstance(members, nn.ModuleList) else None
    network = getattr(model, "network", first)
    return network if isinstance(network, nn.Module) else None
