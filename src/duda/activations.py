"""Stored activations: tensors that a forward pass leaves in attributes of a network's modules."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from operator import is_
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import (
    get_unwrapped,
    is_batchedtensor,
    is_functorch_wrapped_tensor,
    maybe_get_bdim,
)

from duda.inside import modules_in
from duda.trees import rebuilt

__all__ = ["plain_activations", "stored_tensors"]

# What every module has, in which weights, buffers and hooks lie.
_OF_ALL_MODULES = vars(nn.Module())
_FIRST, _COUNT = next(iter(_OF_ALL_MODULES)), len(_OF_ALL_MODULES)
_SETTINGS = frozenset({type(None), bool, int, float, complex, str, bytes, torch.dtype})

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
    before = {id(tensor): tensor for tensor in stored_tensors(network) if not tensor.is_leaf}
    try:
        yield
    finally:
        _change_stored(
            modules_in(network, anew=True), lambda tensor: _plain(tensor, id(tensor) in before)
        )


def stored_tensors(network: nn.Module) -> list[Tensor]:
    """Return the tensors in attributes, but for weights and buffers, also in lists and objects."""
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    _change_stored(modules_in(network), note)
    return found


def _change_stored(modules: Iterable[nn.Module], change: Callable[[Tensor], Tensor]) -> None:
    seen: set[int] = set()
    for module in modules:
        own = vars(module)
        names = [*own]
        # What not all modules have comes last, if they have the rest from the start.
        for name in names[_COUNT:] if names[0] == _FIRST else names:
            if name in _OF_ALL_MODULES:
                _change_all(own, change, seen)
                break
            value = own[name]
            if type(value) not in _SETTINGS:
                own[name] = _changed(value, change, seen)


def _change_all(own: dict[str, Any], change: Callable[[Tensor], Tensor], seen: set[int]) -> None:
    for name, value in own.items():
        if name not in _OF_ALL_MODULES:
            own[name] = _changed(value, change, seen)


def _changed(
    value: Any, change: Callable[[Tensor], Tensor], seen: set[int], depth: int = _DEPTH
) -> Any:
    """Return a value with its tensors changed: itself, unless it is a tensor or a tuple."""
    if isinstance(value, Tensor):
        return change(value)
    if type(value) in (tuple, list) and _SETTINGS.issuperset(map(type, value)):
        return value
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
