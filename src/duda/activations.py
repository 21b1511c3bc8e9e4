"""Stored activations: tensors that a forward pass leaves in attributes of a network's modules."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import is_
from types import ModuleType
from typing import Any

from torch import Tensor, nn
from torch._C._functorch import (
    get_unwrapped,
    is_batchedtensor,
    is_functorch_wrapped_tensor,
    maybe_get_bdim,
)

from duda.trees import rebuilt

__all__ = ["plain_activations", "stored_tensors"]

# What every module has, in which weights, buffers and hooks lie.
_OF_ALL_MODULES = frozenset(vars(nn.Module()))

_DEPTH = 4  # of lists, dicts and objects in each other


@contextmanager
def plain_activations(network: nn.Module) -> Iterator[None]:
    """Leave what a network stores meanwhile as plain tensors, which can be copied and saved.

    Of what a transform such as vmap has made of it that is one draw's, as after a pass for one.
    What was stored before stays.

    >>> import torch
    >>> class Storing(nn.Module):
    ...     def forward(self, x):
    ...         self.features = x + 1
    ...         return self.features
    >>> network = Storing()
    >>> with plain_activations(network):
    ...     _ = torch.func.vmap(network)(torch.zeros(4, 2))
    >>> network.features
    tensor([1., 1.])
    """
    before = {id(tensor): tensor for tensor in stored_tensors(network)}
    try:
        yield
    finally:
        _change_stored(network, lambda tensor: _plain(tensor, id(tensor) in before))


def stored_tensors(network: nn.Module) -> list[Tensor]:
    """Return the tensors in attributes, but for weights and buffers, also in lists and objects."""
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    _change_stored(network, note)
    return found


def _change_stored(network: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
    seen: set[int] = set()
    for module in network.modules():
        for name, value in vars(module).items():
            if name not in _OF_ALL_MODULES:
                vars(module)[name] = _changed(value, change, seen)


def _changed(
    value: Any, change: Callable[[Tensor], Tensor], seen: set[int], depth: int = _DEPTH
) -> Any:
    """Return a value with its tensors changed: itself, unless it is a tensor or a tuple."""
    if isinstance(value, Tensor):
        return change(value)
    if depth == 0 or isinstance(value, nn.Module | ModuleType) or callable(value):
        return value
    if isinstance(value, tuple):
        items = [_changed(item, change, seen, depth - 1) for item in value]
        same = all(map(is_, items, value))
        return value if same else rebuilt(value, items)
    held = value if isinstance(value, dict | list | deque) else getattr(value, "__dict__", None)
    if held is None or id(value) in seen:
        return value
    seen.add(id(value))
    for place, item in list(held.items() if isinstance(held, dict) else enumerate(held)):
        new = _changed(item, change, seen, depth - 1)
        if new is not item:
            held[place] = new
    return value


def _plain(tensor: Tensor, old: bool) -> Tensor:
    """Return a tensor without a transform, and without a graph unless it is an old one."""
    plain = tensor
    while is_functorch_wrapped_tensor(plain):
        dim = maybe_get_bdim(plain) if is_batchedtensor(plain) else None
        plain = get_unwrapped(plain)
        if dim is not None and dim >= 0:
            plain = plain.select(dim, 0)
    if plain is tensor and (old or plain.is_leaf):
        return tensor
    return plain.detach().clone()
