"""Networks that somebody else wrote: called, and their layers chosen, watched and given weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from fnmatch import fnmatchcase
from functools import partial
from threading import get_ident
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch._C._functorch import (  # type: ignore[attr-defined]
    _is_vmap_fallback_enabled,
    _set_vmap_fallback_enabled,
)
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils.parametrize import is_parametrized

from duda.call_order import last_linear
from duda.inside import modules_in
from duda.thread_lock import one_thread
from duda.trees import tensors

__all__ = [
    "LayerChoice",
    "layer_call",
    "matches",
    "routed_modules",
    "swapped_weights",
    "watched_inputs",
    "weight_layers",
    "weights_of",
    "with_last_linear",
    "without_slow_rules",
]

Layer = TypeVar("Layer", bound=nn.Module)
LayerChoice = str | Sequence[str] | Callable[[str, nn.Module], bool] | None

_ARGUMENTS = ("input", "weight", "bias")
_KINDS = (
    nn.Linear,
    nn.Bilinear,
    _ConvNd,
    nn.Embedding,
    nn.EmbeddingBag,
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
)


def weight_layers(network: nn.Module, layers: LayerChoice = None) -> dict[str, nn.Module]:
    """Return the layers that have weights to multiply with, by name, in order of registration.

    Args:
        network: a network with linear, convolutional, embedding, recurrent or attention layers.
        layers: which of them: names, their beginnings up to a dot, patterns such as `"*.conv?"`, or
            a function of name and module, which may choose any module with a matrix of its own.

    Raises:
        ValueError: if there are none, or a name fits none.

    >>> list(weight_layers(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))))
    ['0', '2']
    """
    found = _candidates(network)
    if callable(layers):
        chosen = {name: module for name, module in found.items() if layers(name, module)}
    else:
        chosen = {name: m for name, m in found.items() if isinstance(m, _KINDS)}
    if not chosen:
        raise ValueError(
            f"the network, a {type(network).__name__}, has no layer with weights to "
            "choose: expected linear, convolutional, embedding, recurrent or attention layers; "
            f"it has {', '.join(sorted({type(m).__name__ for m in network.modules()}))}."
        )
    if layers is None or callable(layers):
        return chosen
    patterns = [layers] if isinstance(layers, str) else list(layers)
    for pattern in patterns:
        if not any(matches(name, pattern) for name in chosen):
            raise ValueError(
                f"`layers` names {pattern!r}, which fits no layer with weights: expected some of "
                f"{', '.join(repr(name) for name in chosen)}."
            )
    return {
        name: module
        for name, module in chosen.items()
        if any(matches(name, pattern) for pattern in patterns)
    }


def matches(name: str, pattern: str) -> bool:
    """Return whether a pattern names this module, or one that it is inside of.

    >>> matches("layer1.0.conv", "layer1"), matches("layer10", "layer1"), matches("fc", "f*")
    (True, False, True)
    """
    return name.startswith(f"{pattern}.") or fnmatchcase(name, pattern)


def weights_of(layer: nn.Module, name: str, bias: bool = False) -> dict[str, nn.Parameter]:
    """Return the matrices of a layer by their names in the network, and its biases if asked for.

    Raises:
        ValueError: if the layer has none of its own, but computes them.

    >>> list(weights_of(nn.LSTM(2, 3), "lstm"))
    ['lstm.weight_ih_l0', 'lstm.weight_hh_l0']
    """
    if any(is_parametrized(each) or _computed(each) for each in layer.modules()):
        raise ValueError(
            f"the layer {name!r}, a {type(layer).__name__}, computes its weight from others, as "
            "for spectral norm or pruning, expected a weight of its own: take that off by "
            "`remove_parametrizations`, `remove_weight_norm`, `remove_spectral_norm` or "
            "`prune.remove` of `torch.nn.utils`, or choose other `layers`."
        )
    inside = isinstance(layer, nn.MultiheadAttention)  # which uses its projection's weights itself
    return {
        f"{name}.{inner}" if name else inner: weight
        for inner, weight in layer.named_parameters(recurse=inside)
        if bias or _is_matrix(inner, weight)
    }


@contextmanager
def swapped_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Put other tensors in the place of the network's weights or buffers, for as long as it lasts.

    A weight with several names is replaced under all of them.

    >>> linear = nn.Linear(1, 1)
    >>> with swapped_weights(linear, {"weight": linear.weight.detach() * 0}):
    ...     bool(linear.weight == 0)
    True
    >>> isinstance(linear.weight, nn.Parameter)
    True
    """
    with one_thread:
        places = [
            (kept, name, tensor)
            for module in modules_in(network)
            for kept in (module._parameters, module._buffers)
            for name, tensor in kept.items()
            if tensor is not None
        ]
        own = dict(network.named_parameters(remove_duplicate=False)) | dict(
            network.named_buffers(remove_duplicate=False)
        )
        new = {id(own[name]): tensor for name, tensor in weights.items()}
        changed = [(kept, name, tensor) for kept, name, tensor in places if id(tensor) in new]
        made = [
            (vars(m), name, vars(m)[name]) for m in modules_in(network) for name in _computed(m)
        ]
        try:
            for kept, name, tensor in changed:
                kept[name] = new[id(tensor)]  # type: ignore[assignment]
            yield
        finally:
            for kept, name, tensor in (*changed, *made):
                kept[name] = tensor
            for module in modules_in(network):
                if isinstance(module, nn.RNNBase):  # which keeps a list of the weights it has used
                    module._update_flat_weights()


def _candidates(network: nn.Module) -> dict[str, nn.Module]:
    """Return the modules with a matrix of their own; an attention layer owns its projections."""
    found: dict[str, nn.Module] = {}
    for name, module in network.named_modules():
        inside = any(
            isinstance(owner, nn.MultiheadAttention) and matches(name, own)
            for own, owner in found.items()
        )
        own = any(_is_matrix(*each) for each in module.named_parameters(recurse=False))
        if not inside and (own or (isinstance(module, _KINDS) and is_parametrized(module))):
            found[name] = module
    return found


def _computed(layer: nn.Module) -> list[str]:
    """Return the weights of a layer that a hook makes of others: "weight" of "weight_orig"."""
    made = (name for name, value in vars(layer).items() if isinstance(value, Tensor))
    return [name for name in made if any(own.startswith(f"{name}_") for own in layer._parameters)]


def _is_matrix(name: str, weight: Tensor) -> bool:
    return weight.ndim > 1 and "bias" not in name


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
    # Of tensors that a hook or a pass has left in a module torch copies none with a gradient.
    made_of = (each for module in network.modules() for each in tensors(vars(module)))
    copy = deepcopy(network, {id(t): t.detach().clone() for t in made_of if not t.is_leaf})
    name, linear = last_linear(copy)
    made = make(linear).to(linear.weight.device, linear.weight.dtype)
    if not name:
        return made
    copy.set_submodule(name, made)
    return copy


@contextmanager
def watched_inputs(layers: Iterable[Layer]) -> Iterator[list[tuple[Layer, Tensor]]]:
    """Collect the layers' calls and their first inputs, in order, for as long as it lasts.

    >>> relu = nn.ReLU()
    >>> with watched_inputs([relu]) as calls:
    ...     _ = nn.Sequential(nn.Linear(2, 3), relu)(Tensor([[1.0, 2.0]]))
    >>> [(layer, h.shape) for layer, h in calls]
    [(ReLU(), torch.Size([1, 3]))]
    """
    calls: list[tuple[Layer, Tensor]] = []

    def note(layer: Layer, inputs: tuple[Tensor, ...]) -> None:
        calls.append((layer, inputs[0]))

    with one_thread, ExitStack() as stack:
        for layer in layers:
            stack.enter_context(layer.register_forward_pre_hook(note))
        yield calls


def layer_call(
    func: Callable[..., Tensor], args: Any, kwargs: dict[str, Any]
) -> tuple[Callable[..., Tensor], Tensor, Tensor, Tensor | None]:
    """Return a call of a layer as a function of input, weight and bias, and what these are."""
    given = dict(zip(_ARGUMENTS, args, strict=False)) | kwargs
    options = {name: value for name, value in kwargs.items() if name not in _ARGUMENTS}

    def layer(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return func(x, weight, bias, *args[len(_ARGUMENTS) :], **options)

    return layer, given["input"], given["weight"], given.get("bias")


@contextmanager
def routed_modules(network: nn.Module, route: Callable[..., Any]) -> Iterator[None]:
    """Make all modules inside the network be called by `route(module, call, *args, **kwargs)`."""
    owner = get_ident()

    def routed_call(module: nn.Module, call: Any, *args: Any, **kwargs: Any) -> Any:
        if get_ident() != owner:  # of somebody who calls the network itself
            return call(*args, **kwargs)
        return route(module, call, *args, **kwargs)

    with one_thread:
        routed = [
            (module, module.__dict__.get("_compiled_call_impl"))
            for module in modules_in(network)
            if module is not network and not isinstance(module, torch.jit.ScriptModule)
        ]
        try:
            for module, compiled in routed:
                # Not by the module's own way of setting attributes, which takes its time.
                call = partial(routed_call, module, compiled or module._call_impl)
                module.__dict__["_compiled_call_impl"] = call
            yield
        finally:
            for module, compiled in routed:
                if compiled is None:
                    module.__dict__.pop("_compiled_call_impl", None)
                else:
                    module.__dict__["_compiled_call_impl"] = compiled


@contextmanager
def without_slow_rules() -> Iterator[None]:
    """Let vmap refuse an operator that it has no rule for, instead of warning and crawling."""
    enabled = _is_vmap_fallback_enabled()
    _set_vmap_fallback_enabled(False)
    try:
        yield
    finally:
        _set_vmap_fallback_enabled(enabled)
