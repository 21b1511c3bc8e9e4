"""Prefixes: what modules returned before anything differed by draw, which runs in one pass only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from duda.sampling.networks import routed_modules

__all__ = ["Prefix"]


class Prefix:
    """What modules returned before anything in a pass differed by draw, for the passes after it.

    All passes begin alike, so that a module is known by its place in the order of calls.

    Args:
        network: whose passes they are.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self._returned: dict[int, _Returned] = {}
        self._known = False

    @contextmanager
    def used(self, differs: Callable[[Any], bool]) -> Iterator[None]:
        """Let a pass be made, by what is known of earlier ones.

        Args:
            differs: whether what a module has just returned may be another in other draws.
        """
        calls = 0

        def route(module: nn.Module, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            nonlocal calls
            place, calls = calls, calls + 1
            if self._known:
                found = self._returned.get(place)
                known = found is not None and found.module is module
                return found.again() if known else call(*args, **kwargs)  # type: ignore[union-attr]
            before = _versions((args, kwargs))
            outputs = call(*args, **kwargs)
            if not _changed(before) and _is_plain(outputs) and not differs(outputs):
                # What is inside is not called again, and has no place.
                self._returned = {n: each for n, each in self._returned.items() if n < place}
                self._returned[place] = _Returned(module, (args, kwargs), outputs)
                calls = place + 1
            return outputs

        with routed_modules(self.network, route):
            yield
        whole = {place: each for place, each in self._returned.items() if each.settled()}
        self._known = self._known is False or len(whole) == len(self._returned)
        self._returned = whole if self._known else {}


class _Returned:
    """What a call of a module returned.

    Args:
        module: the module.
        inputs: arguments by place and by name.
        outputs: what the network got of it, and may write to.

    Attributes:
        kept: a copy to which nobody has written.
    """

    def __init__(self, module: nn.Module, inputs: Any, outputs: Any) -> None:
        self.module = module
        self.kept = tree_map_only(Tensor, Tensor.clone, outputs)
        self._watched: list[tuple[Tensor, int]] | None = _versions(outputs)
        lying = {each.untyped_storage()._cdata for each, _ in _versions(inputs)}
        self._is_view = any(each.untyped_storage()._cdata in lying for each, _ in self._watched)
        self._first = True

    def again(self) -> Any:
        """Return the outputs once more."""
        if self._watched is None:
            return tree_map_only(Tensor, Tensor.clone, self.kept)
        return self.kept

    def settled(self) -> bool:
        """Return whether it can be returned again, now that a pass is over.

        What the network writes to it gets a copy of from now on, but not of what lies in the
        memory of an input, which would have to change too.
        """
        written = self._watched is not None and _changed(self._watched)
        first, self._first = self._first, False
        if first:
            self._watched = None if written else _versions(self.kept)
        return not written or (first and not self._is_view)


def _versions(tree: Any) -> list[tuple[Tensor, int]]:
    return [(each, each._version) for each in tree_leaves(tree) if isinstance(each, Tensor)]


def _changed(versions: list[tuple[Tensor, int]]) -> bool:
    """Return whether tensors were written to since their versions were noted."""
    return any(each._version != version for each, version in versions)


def _is_plain(outputs: Any) -> bool:
    """Return whether outputs are tensors, or tuples, lists and dictionaries of them."""
    if type(outputs) in (tuple, list):
        return all(map(_is_plain, outputs))
    if type(outputs) is dict:
        return all(map(_is_plain, outputs.values()))
    return isinstance(outputs, Tensor)
