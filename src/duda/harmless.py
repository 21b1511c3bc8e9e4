"""Harmless networks: made of layers of torch alone, which in eval mode write to nothing they have.

So nobody need watch them. What a user has written, hooked or replaced may do anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType

from torch import Tensor, nn
from torch.nn import modules
from torch.nn.modules import module as torch_module
from torch.nn.modules.lazy import LazyModuleMixin

__all__ = ["PLAIN_TENSORS", "are_harmless"]

PLAIN_TENSORS = frozenset({Tensor, nn.Parameter, nn.Buffer})

# Where neither weights nor attributes are written to by a call in eval mode, as is by layers that
# are recurrent or embeddings.
_PLACES: tuple[ModuleType, ...] = (
    modules.activation,
    modules.batchnorm,
    modules.conv,
    modules.dropout,
    modules.flatten,
    modules.instancenorm,
    modules.linear,
    modules.normalization,
    modules.padding,
    modules.pixelshuffle,
    modules.pooling,
    modules.transformer,
    modules.upsampling,
)
_KINDS = [
    kind
    for place in _PLACES
    for kind in vars(place).values()
    if isinstance(kind, type) and issubclass(kind, nn.Module) and kind.__module__ == place.__name__
]
_CONTAINERS: list[type[nn.Module]] = [nn.Sequential, nn.ModuleList, nn.ModuleDict]
_FORWARDS = {
    kind: kind.forward for kind in (*_KINDS, *_CONTAINERS) if not issubclass(kind, LazyModuleMixin)
}


def are_harmless(modules: Iterable[nn.Module]) -> bool:
    """Return whether calls of modules, in eval mode, write to nothing that any of them has.

    >>> network = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    >>> are_harmless(network.modules())
    True
    >>> _ = network[0].register_forward_hook(print)
    >>> are_harmless(network.modules())
    False
    """
    if torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks:
        return False
    for module in modules:
        kind, own = type(module), vars(module)
        forward = _FORWARDS.get(kind)
        if forward is None or forward is not kind.forward or "forward" in own:
            return False
        if own["_forward_hooks"] or own["_forward_pre_hooks"]:
            return False
        for weight in own["_parameters"].values():
            if weight is not None and type(weight) not in PLAIN_TENSORS:
                return False
    return True
