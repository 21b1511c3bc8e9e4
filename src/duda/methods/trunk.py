"""Trunks of networks: which of their modules, weights and buffers several members share."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from duda.call_order import call_order
from duda.sampling import matches, weight_layers

__all__ = ["parts_of", "shared_names"]


def parts_of(network: nn.Module) -> dict[str, nn.Module | Tensor]:
    """Return the modules, weights and buffers inside a network under all their names."""
    parts: dict[str, nn.Module | Tensor] = dict(network.named_modules(remove_duplicate=False))
    parts.update(network.named_parameters(remove_duplicate=False))
    parts.update(network.named_buffers(remove_duplicate=False))
    del parts[""]
    return parts


def shared_names(network: nn.Module, shared: str | Sequence[str] | None) -> set[str]:
    """Return the names of all that is shared: what is chosen, what is in it, and is tied to it."""
    parts = parts_of(network)
    chosen = _before_heads(network) if shared is None else _named(list(parts), shared)
    inside = {
        id(part)
        for name in chosen
        for whole in (parts[name],)
        for part in (whole, *(parts_of(whole).values() if isinstance(whole, nn.Module) else ()))
    }
    weights = {id(weight) for weight in network.parameters()}
    if weights.isdisjoint(inside):
        raise ValueError(
            f"`shared` is {shared!r}, which has no weights in it, expected a trunk; for members "
            "that share nothing use `duda.DeepEnsemble`."
        )
    if weights <= inside:
        raise ValueError(
            f"`shared` is {shared!r}, which is all of the network, so all members would be the "
            "same: leave the layers of the heads out of it."
        )
    return {name for name, part in parts.items() if id(part) in inside}


def _before_heads(network: nn.Module) -> set[str]:
    """Return the names of what comes before the last two layers with weights, of three."""
    order = call_order(network)
    modules = [name for name, _ in network.named_modules()] if order is None else order.names
    layers = sorted(weight_layers(network), key=modules.index)
    head = layers[max(1, len(layers) - 2) :] or layers
    before = modules[: modules.index(head[0])]
    around = {name for name in {"", *modules} - {head[0]} if matches(head[0], name) or not name}
    direct = {
        name
        for name, part in parts_of(network).items()
        if isinstance(part, Tensor) and name.rpartition(".")[0] in around
    }
    return set(before) - around | direct


def _named(names: list[str], shared: str | Sequence[str]) -> set[str]:
    """Return the names that fit one of the patterns."""
    found: set[str] = set()
    for pattern in [shared] if isinstance(shared, str) else shared:
        fitting = {name for name in names if matches(name, pattern)}
        if not fitting:
            raise ValueError(
                f"`shared` names {pattern!r}, which fits nothing in the network: expected some of "
                f"{', '.join(repr(name) for name in names if '.' not in name)}, or what is inside."
            )
        found |= fitting
    return found
