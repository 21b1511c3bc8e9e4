"""Common calls: what several networks with a trunk in common compute alike is computed once."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

from duda.batches import Batch
from duda.preservation import random_bytes
from duda.sampling import routed_modules, tensors
from duda.written import written

__all__ = ["CommonCalls"]

_CONSTANTS = (bool, int, float, complex, str, type(None), type(...), torch.dtype, torch.device)
_EMPTY = (torch.empty, torch.empty_like, torch.Tensor.new_empty)  # something fills these later


class CommonCalls(TorchFunctionMode):
    """While active, answers calls of which all arguments come from the trunk and the inputs.

    A tensor is known by the call that made it, unless something has been written to it since. What
    draws random numbers is called for each network, and so is what reads a weight of its own.

    Args:
        trunk: the modules and weights that the networks have in common.
        x: their inputs.
    """

    def __init__(self, trunk: Collection[nn.Module | Tensor], x: Batch) -> None:
        super().__init__()
        self._modules = {id(part) for part in trunk if isinstance(part, nn.Module)}
        self._device = next(tensors(x)).device
        self._origins: dict[int, tuple[weakref.ref[Tensor], int | None, Any]] = {}
        self._results: dict[Hashable, tuple[Any, list[int]]] = {}
        self._inside = 0  # of modules of the trunk, which are called as a whole
        for part in trunk:
            if isinstance(part, Tensor):  # statistics among them change in training
                self._origins[id(part)] = weakref.ref(part), None, (id(part), 0)

    @contextmanager
    def used(self, network: nn.Module, x: Batch) -> Iterator[None]:
        """Let a network be called with a copy of the inputs."""
        for number, part in enumerate(tensors(x)):
            self._origins[id(part)] = weakref.ref(part), part._version, ("x", number)
        with routed_modules(network, self._route), self:
            yield

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Answer the call, or make it."""
        kwargs = kwargs or {}
        targets = written(func, args, kwargs)
        if not targets:
            return self._once(func, func, args, kwargs)
        with torch._C.DisableTorchFunction():
            name, before = self._name(func, args, kwargs), random_bytes(self._device)
            for target in targets:
                self._save(target)
        result = func(*args, **kwargs)
        with torch._C.DisableTorchFunction():
            known = name is not None and before == random_bytes(self._device)
            self._note(targets, (name, "written") if known else None)
        return result

    def _route(self, module: nn.Module, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if id(module) not in self._modules:
            return call(*args, **kwargs)
        return self._once(id(module), call, args, kwargs)

    def _once(self, key: Hashable, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Return what a call has returned before, or make it, and remember it if that is known."""
        with torch._C.DisableTorchFunction():
            name = None if self._inside or call in _EMPTY else self._name(key, args, kwargs)
            result, versions = self._results.get(name, (None, None))
            if versions is not None and versions == _versions(result):
                return result
            before = random_bytes(self._device), _versions((args, kwargs))
        is_module = key is not call
        self._inside += is_module
        try:
            result = call(*args, **kwargs)
        finally:
            self._inside -= is_module
        with torch._C.DisableTorchFunction():
            after = random_bytes(self._device), _versions((args, kwargs))
            if name is not None and before[0] == after[0]:
                self._note(result, name)
                if before[1] == after[1]:
                    self._results[name] = result, _versions(result)
        return result

    def _save(self, target: Tensor) -> None:
        """Keep a copy of what is going to be written to, in the place of a call's result."""
        if id(target) not in self._origins:
            return
        reference, version, (name, *_) = self._origins[id(target)]
        if reference() is not target or version is None:
            return
        if name in self._results:
            result = tree_map_only(
                Tensor,
                lambda each: each.clone() if each is target else each,
                self._results[name][0],
            )
            self._results[name] = result, _versions(result)
            self._note(result, name)

    def _name(self, key: Hashable, args: Any, kwargs: Any) -> Hashable | None:
        """Return what tells a call from others, None if its arguments come from elsewhere."""
        try:
            return key, self._named(args), self._named(kwargs)
        except LookupError:
            return None

    def _named(self, argument: Any) -> Any:
        if isinstance(argument, Tensor):
            reference, version, name = self._origins[id(argument)]
            if reference() is argument and version in (None, argument._version):
                return name
        elif isinstance(argument, _CONSTANTS):
            return type(argument), argument
        elif type(argument) in (tuple, list):
            return tuple(map(self._named, argument))
        elif type(argument) is dict:
            return tuple((name, self._named(each)) for name, each in argument.items())
        raise LookupError

    def _note(self, result: Any, name: Hashable | None) -> None:
        """Take note of where tensors come from, those apart that come from elsewhere unchanged."""
        for number, each in enumerate(tensors(result)):
            reference, version, _ = self._origins.get(id(each), (None, None, None))
            if name is None:
                self._origins.pop(id(each), None)
            elif (
                reference is None or reference() is not each or version not in (None, each._version)
            ):
                self._origins[id(each)] = weakref.ref(each), each._version, (name, number)


def _versions(tree: Any) -> list[int]:
    return [each._version for each in tree_leaves(tree) if isinstance(each, Tensor)]
