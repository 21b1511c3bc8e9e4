"""Inside networks: the modules that they are made of, walked once for all who ask meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from torch import nn

__all__ = ["modules_in", "walked_once"]


class _Walks:
    """Walks of networks inside a model, by the `id` of each of them."""

    def __init__(self, model: nn.Module) -> None:
        self.all = _walk(model)
        self._known = {id(model): self.all}

    def of(self, network: nn.Module) -> Sequence[nn.Module]:
        """Return the modules of a network, which are not kept of one outside the model."""
        found = self._known.get(id(network))
        if found is None:
            found = _walk(network)
            if any(each is network for each in self.all):
                self._known[id(network)] = found
        return found


_now: ContextVar[_Walks | None] = ContextVar("_now", default=None)


def modules_in(network: nn.Module, *, anew: bool = False) -> Sequence[nn.Module]:
    """Return what `network.modules()` yields, in its order, which nobody may write to.

    Args:
        network: any module.
        anew: walk it in any case, as it may have got other modules since.

    >>> modules_in(nn.Sequential(nn.ReLU(), nn.Tanh()))[1:]
    [ReLU(), Tanh()]
    """
    walks = _now.get()
    return _walk(network) if anew or walks is None else walks.of(network)


@contextmanager
def walked_once(model: nn.Module) -> Iterator[None]:
    """Let `modules_in` walk a model, and each network in it, once for as long as this lasts."""
    token = _now.set(_Walks(model))
    try:
        yield
    finally:
        _now.reset(token)


def _walk(network: nn.Module) -> list[nn.Module]:
    """Return the modules, without a generator for each level."""
    found: dict[int, nn.Module] = {}
    left: list[nn.Module | None] = [network]
    while left:
        module = left.pop()
        if module is not None and id(module) not in found:
            found[id(module)] = module
            inner = module._modules
            if inner:
                left += reversed([*inner.values()])
    return [*found.values()]
