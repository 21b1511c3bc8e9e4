"""Randomness that only train mode turns on, such as attention dropout `p if self.training else 0`.

Eval mode hides it, so a network is asked with a few examples in both modes. Which module makes a
random call in train mode alone tells what is to run in train mode while the network predicts: that
module and nothing else, and only if it does there what it does in eval mode, but for the numbers.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Hashable, Iterable, Iterator
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from duda.batches import Batch, each_input, rows_of
from duda.inside import modules_in
from duda.methods.watched_pass import LEVELS, Pass, WatchedNetwork
from duda.sampling import tensors

__all__ = ["random_in_train_mode"]

_ROWS = 4
_BIAS = 0.5  # how far a mean may be from what it should be: this share of a draw's deviation,
_ROUNDING = 0.02  # or of itself, as the mean through a layer that is not linear is another

_found: WeakKeyDictionary[nn.Module, tuple[Hashable, list[str]]] = WeakKeyDictionary()


def random_in_train_mode(network: nn.Module, x: Batch) -> list[nn.Module]:
    """Return the modules to run in train mode for all that is random there to be random.

    Found once for a network, as long as its modules and their settings stay the same. What cannot
    be turned on is named in a warning: what does more in train mode than draw numbers, and numbers
    of Python and numpy, which all draws of a prediction may share.

    >>> class Attention(nn.Module):
    ...     def forward(self, x):
    ...         p = 0.5 if self.training else 0.0
    ...         return nn.functional.scaled_dot_product_attention(x, x, x, dropout_p=p)
    >>> random_in_train_mode(nn.Sequential(Attention(), nn.Linear(4, 2)), torch.randn(3, 5, 4))
    [Attention()]
    """
    network = getattr(network, "_orig_mod", network)  # of one that is compiled
    unknown = [module for module in modules_in(network) if not _known(module)]
    if not unknown:
        return []
    key = _structure(network, unknown, x)
    known = _found.get(network)
    if known is None or known[0] != key:
        search = _Search(network, x)
        if not search.runs():  # the network's own error, which the prediction will meet as well
            return []
        _found[network] = known = key, search.found()
        if search.told:
            warnings.warn(search.sentence(), stacklevel=2)
    if not known[1]:
        return []
    modules = dict(network.named_modules())
    return [modules[name] for name in known[1]]


def _known(module: nn.Module) -> bool:
    """Return whether a module is one of torch's, of which the engine sees all that is random."""
    own = type(module).__module__.startswith("torch.nn.") and "forward" not in vars(module)
    return own and not isinstance(module, nn.RReLU)


def _structure(network: nn.Module, unknown: Iterable[nn.Module], x: Batch) -> Hashable:
    """Return what a search depends on: the modules, and such settings of some as may be a p."""
    settings = ((type(module), frozenset(_settings(module))) for module in unknown)
    modules = tuple(map(id, modules_in(network)))
    return tuple((each.ndim, each.dtype) for each in tensors(x)), modules, *settings


def _settings(module: nn.Module) -> Iterator[tuple[str, float]]:
    named = vars(module).items()
    return ((name, value) for name, value in named if isinstance(value, float) and 0 <= value <= 1)


class _Search:
    """Looks for the modules whose random calls eval mode turns off.

    Args:
        network: that is asked; it stays as it is.
        x: a batch of inputs, of which it gets a few.

    Attributes:
        told: what stays as it is in eval mode, or cannot be known, and the modules' names.
    """

    def __init__(self, network: nn.Module, x: Batch) -> None:
        count = min(_ROWS, rows_of(x))
        self.network = network
        self.modules = dict(network.named_modules())
        self.watched = WatchedNetwork(network, each_input(x, lambda values: values[:count]))
        self.told: dict[str, list[str]] = {}

    def runs(self) -> bool:
        """Return whether the network runs with these inputs, in eval mode."""
        try:
            self.plain = {level: self.watched.run((), level) for level in LEVELS}
            self.again = self.watched.run((), "high")
        except Exception:
            return False
        return True

    def found(self) -> list[str]:
        """Return the names of what is to run in train mode, of a network that runs."""
        self._check_known()
        self.trained = self._all_in_train_mode()
        missed: dict[str, list[str]] = {}
        for name, source in _places(self.trained):
            if _most(self.trained, name, source) <= _most(self.plain.values(), name, source):
                continue
            if source == "torch":
                kind = type(self.modules[name]).__name__
                missed.setdefault(kind, []).append(name)
            else:
                self._tell(f"takes numbers from {source} in train mode, which stay off", [name])
        on: set[str] = set()
        for names in missed.values():
            try:
                on.update(self._turned_on(names))
            except Exception:  # what takes eval mode for granted, such as the shape of an output
                self._tell_off(names)
        return sorted(on)

    def sentence(self) -> str:
        """Return what a user should know."""
        parts = (f"{', '.join(names)} {what}" for what, names in self.told.items())
        return (
            f"not all that is random in this {type(self.network).__name__} differs between the "
            f"draws of a prediction: {'; '.join(parts)}. Let it draw by torch, also in eval mode, "
            "as `F.dropout(x, p)` does, or remove that."
        )

    def _tell(self, what: str, names: Iterable[str]) -> None:
        shown = [repr(name) if name else "its own `forward`" for name in names]
        self.told.setdefault(what, []).extend(shown)

    def _tell_off(self, names: list[str]) -> None:
        self._tell("is random in train mode only, and stays off as it does more there", names)

    def _check_known(self) -> None:
        """Note random numbers in eval mode that the engine does not make."""
        others = {place for place in self.again.random if place[1] != "torch"}
        for name, source in sorted(others):
            self._tell(f"takes numbers from {source}, which draws may share", [name])
        if not others and _distance(self.plain["high"], self.again) > 0:
            self._tell("takes numbers from a generator of its own, which draws may share", [""])

    def _all_in_train_mode(self) -> list[Pass]:
        """Return passes with all in train mode but normalization."""
        every = [name for name, module in self.modules.items() if not _normalizes(module)]
        inside = [name for name in every if name]  # the whole may want targets, too
        leaves = [name for name in inside if not any(self.modules[name].children())]
        for names in (every, inside, leaves):
            try:
                return [self.watched.run(names, level) for level in ("low", "high")]
            except Exception:
                continue
        self._tell("cannot run in train mode with these inputs, so that it is not searched", [""])
        return []

    def _turned_on(self, names: list[str]) -> list[str]:
        """Return what is to run in train mode for the random calls of modules of one kind."""
        stacks = {name: stack for each in self.trained for name, stack in each.stacks.items()}
        for depth in range(1 + max(len(stacks[name]) for name in names)):
            callers = {each for name in names for each in stacks[name][len(stacks[name]) - depth :]}
            trained = self._with_scripted(callers, names)
            if not trained:
                continue
            passes = {level: self.watched.run(trained, level) for level in LEVELS}
            if self._makes(passes.values(), names):
                break
        else:
            self._tell_off(names)
            return []
        if all(_distance(self.plain[level], passes[level], roundings=0) == 0 for level in LEVELS):
            return []  # it draws, but for nothing, as with a probability of 0
        if self._only_random(passes["middle"], trained):
            return trained
        self._tell_off(names)
        return []

    def _with_scripted(self, callers: set[str], names: list[str]) -> list[str]:
        """Return callers, and the scripted modules inside some modules, without normalization."""
        scripted = {
            own
            for own, module in self.modules.items()
            if isinstance(module, torch.jit.ScriptModule)
            and any(not name or f"{own}.".startswith(f"{name}.") for name in names)
        }
        return sorted(each for each in callers | scripted if not _normalizes(self.modules[each]))

    def _makes(self, passes: Collection[Pass], names: list[str]) -> bool:
        """Return whether modules make the calls in some passes that they miss in eval mode."""
        missing = (
            _most(passes, name, "torch") <= _most(self.plain.values(), name, "torch")
            for name in names
        )
        return not any(missing)

    def _only_random(self, middle: Pass, trained: list[str]) -> bool:
        """Return whether train mode changes nothing but random numbers."""
        plain = self.plain["middle"]
        if middle.changed - plain.changed or middle.statistics != plain.statistics:
            return False
        distance = _distance(plain, middle)
        if distance == 0 or math.isinf(distance):
            return distance == 0
        # Numbers in the middle need not be those without effect, so that the mean has to tell.
        first = next((name for name in plain.calls if name in trained), "")
        return all(
            one.shape == mean.shape
            and float((mean - one).norm())
            <= _BIAS * float(std.norm()) + _ROUNDING * float(one.norm())
            for one, mean, std in self.watched.outputs_of(first, plain, trained)
        )


def _normalizes(module: nn.Module) -> bool:
    """Return whether a module uses the statistics of a batch in train mode."""
    scripted = getattr(module, "original_name", "")
    return isinstance(module, _NormBase) or "BatchNorm" in scripted or "InstanceNorm" in scripted


def _places(passes: Iterable[Pass]) -> list[tuple[str, str]]:
    """Return where random calls were made."""
    return list(dict.fromkeys(place for each in passes for place in each.random))


def _most(passes: Iterable[Pass], name: str, source: str) -> int:
    """Return the number of random calls of a module in that pass which made most of them."""
    return max((each.random[name, source] for each in passes), default=0)


def _distance(one: Pass, other: Pass, roundings: int = 100) -> float:
    """Return how far the outputs of two passes are apart: 0 for rounding, infinite by shape."""
    if [each.shape for each in one.outputs] != [each.shape for each in other.outputs]:
        return math.inf
    farthest = 0.0
    for a, b in zip(one.outputs, other.outputs, strict=True):
        largest = float(a.nan_to_num(0, 0, 0).abs().max())
        tolerance = roundings * torch.finfo(a.dtype).eps * largest
        if not torch.allclose(a, b, rtol=0, atol=tolerance, equal_nan=True):
            farthest = max(farthest, float((a - b).nan_to_num(1, 1, 1).abs().max()))
    return farthest
