"""Call order: which modules a network calls one after the other, found by a pass without data."""

from __future__ import annotations

import copy
import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.parametrize import type_before_parametrizations

__all__ = ["CallOrder", "call_order", "last_linear"]

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_ALONE = {"training": False, "_compiled_call_impl": None}


class CallOrder(NamedTuple):
    """What a pass of a network calls.

    Attributes:
        names: of all modules, by the last call of each; before these what is never called.
        last: the module whose output is that of the network.
    """

    names: list[str]
    last: str


def call_order(network: nn.Module) -> CallOrder | None:
    """Return the order in which a network calls its modules, by its code and without data.

    Only the code between layers is run. None where that asks for the values of tensors, or where
    something comes after the last layer.

    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.head, self.body = nn.Linear(4, 2), nn.Linear(3, 4)
    ...     def forward(self, x):
    ...         return self.head(self.body(x.flatten(1)).relu())
    >>> call_order(Net())
    CallOrder(names=['body', 'head', ''], last='head')
    """
    tracer = _Tracer()
    try:
        returned = tracer.shell("", network)(*tracer.inputs(network))
    except Exception:  # whatever the code has against values that are none
        return None
    if isinstance(returned, Mapping):
        returned = returned.get("logits")
    elif not isinstance(returned, fx.Proxy):
        returned = getattr(returned, "logits", None)
    last = str(returned.node.target) if isinstance(returned, fx.Proxy) else None
    if last not in tracer.calls:
        return None
    place = {name: number for number, name in enumerate(tracer.calls)}
    names = [name for name, _ in network.named_modules()]  # sorting keeps their order inside layers
    return CallOrder(sorted(names, key=lambda name: _place(name, place)), last)


def last_linear(network: nn.Module) -> tuple[str, nn.Linear]:
    """Return the name and the module of the linear layer that puts out what the network does.

    Where the network's code does not tell without data, it is the one that was registered last.

    Raises:
        ValueError: if there is none.

    >>> last_linear(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)))
    ('2', Linear(in_features=8, out_features=3, bias=True))
    """
    found = {
        name: cast(nn.Linear, module)
        for name, module in network.named_modules()
        if type_before_parametrizations(module) is nn.Linear
    }
    if not found:
        raise ValueError(
            f"the network, a {type(network).__name__}, has no `nn.Linear`, expected one as its "
            "last layer."
        )
    order = call_order(network)
    name = order.last if order is not None and order.last in found else list(found)[-1]
    return name, found[name]


class _Tracer(fx.proxy.TracerBase):
    """Makes shells of modules, which have their code and attributes, but whose layers do nothing.

    Other than `torch.fx.symbolic_trace` it changes nothing that another thread could see.
    """

    def __init__(self) -> None:
        super().__init__()
        self.graph = fx.Graph()
        self.calls: list[str] = []
        self.shells: dict[int, nn.Module] = {}

    def create_proxy(self, kind: str, target: Any, *_: Any, **__: Any) -> fx.Proxy:
        """Return a value that has come from `target`; what that was given does not matter."""
        return fx.Proxy(self.graph.create_node(kind, target, (), {}), self)

    def inputs(self, network: nn.Module) -> list[fx.Proxy]:
        """Return values for the first argument of a network, and for others that it needs."""
        kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
        taken = inspect.signature(network.forward).parameters.values()
        places = [each for each in taken if each.kind not in kinds]
        needed = [each for each in places[1:] if each.default is inspect.Parameter.empty]
        return [self.value("") for _ in (*places[:1], *needed)]

    def value(self, origin: str) -> fx.Proxy:
        """Return what stands for the output of a module."""
        return self.create_proxy("call_module", origin)

    def shell(self, name: str, module: nn.Module) -> nn.Module:
        """Return a module with the attributes of another, and shells for the modules in it."""
        if id(module) in self.shells:
            return self.shells[id(module)]
        shell: nn.Module = object.__new__(_kind(module))
        self.shells[id(module)] = shell
        shell.__dict__.update({key: _copied(value) for key, value in vars(module).items()})
        shell.__dict__.update({key: OrderedDict() for key in _HOOKS} | _ALONE)
        code = None if _is_layer(module) else shell.forward
        if code is not None:
            for key, part in module._modules.items():
                if part is not None:
                    shell._modules[key] = self.shell(f"{name}.{key}" if name else key, part)
        shell.__dict__["forward"] = self._noted(name, code)
        return shell

    def _noted(self, name: str, code: Callable[..., Any] | None) -> Callable[..., Any]:
        """Return a function that runs the code of a module; where it cannot, that is a layer."""

        def forward(*args: Any, **kwargs: Any) -> Any:
            returned: Any = self.value(name)
            with nullcontext() if name == "" else suppress(Exception):
                returned = returned if code is None else code(*args, **kwargs)
            self.calls.append(name)
            return returned

        return forward


def _kind(module: nn.Module) -> type[nn.Module]:
    """Return the class of a shell."""
    return nn.Module if isinstance(module, torch.jit.ScriptModule) else type(module)


def _is_layer(module: nn.Module) -> bool:
    """Return whether a module's code is torch's or compiled, or it has no modules in it."""
    if isinstance(module, torch.jit.ScriptModule) or "forward" in vars(module):
        return True
    torchs = type(module).__module__.startswith("torch.nn") or not module._modules
    return torchs and not isinstance(module, _CONTAINERS)


def _copied(value: Any) -> Any:
    """Return a container, such as that of a module's buffers, so that code may write to it."""
    if isinstance(value, dict):
        copied = copy.copy(value)
        copied.update({key: _own(each) for key, each in value.items()})
        return copied
    return copy.copy(value) if isinstance(value, (list, set)) else _own(value)


def _own(value: Any) -> Any:
    plain = isinstance(value, Tensor) and not isinstance(value, nn.Parameter)
    return value.detach().clone() if plain else value


def _place(name: str, places: dict[str, int]) -> int:
    """Return the place of a module, or of that which it is inside of; -1 if none is called."""
    inner = name
    while inner not in places and "." in inner:
        inner = inner.rpartition(".")[0]
    return places.get(inner, -1)
