"""Stacked members: networks of equal structure that run as one, over their weights stacked."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import partial
from itertools import islice
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn.modules import module as torch_module

from duda.agreement import agree
from duda.batches import Batch, each_input, rows_of
from duda.inside import modules_in
from duda.outputs import raw_outputs
from duda.preservation import devices_of, others_seeded, seeded
from duda.sampling.calls import NeedsLoop
from duda.sampling.networks import swapped_weights, without_slow_rules
from duda.sampling.randomness import Randomness, convolutions, fast_in_vmap
from duda.streams import Stream

__all__ = ["StackedMembers", "collected", "each_in_turn", "form_of"]

_log = logging.getLogger(__name__)

_COLLECTED_BYTES = 2**20
_GROUP_BYTES = 2**30  # of what a group of members may hold and compute, by a guess
_FEW_ROWS = 2
_FEW_IMAGES = 32  # more keep a GPU busy with one member's convolutions: a guess, not measured yet

_OF_ALL_MODULES = list(vars(nn.Module()))
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_TENSORS = (Tensor, nn.Parameter, nn.Buffer)

# Whether networks came out the same as one and in turn, by the first of them.
_verdicts: WeakKeyDictionary[nn.Module, dict[Hashable, bool]] = WeakKeyDictionary()


def each_in_turn(networks: Sequence[nn.Module], x: Batch, chunk: int | None) -> Iterator[Tensor]:
    """Yield the outputs `(m, N, ...)` of one network after the other, small ones several at a time.

    >>> [len(each) for each in each_in_turn([nn.Identity()] * 3, torch.zeros(2, 1), None)]
    [3]
    """
    return collected((raw_outputs(network, x) for network in networks), chunk)


def collected(draws: Iterable[Tensor], chunk: int | None = None) -> Iterator[Tensor]:
    """Yield draws `(N, ...)` as `(m, N, ...)`, at most `chunk` of them, and one where it is large.

    So fewer calls reduce them.
    """
    kept: list[Tensor] = []
    for draw in draws:
        full = kept and len(kept) >= (chunk or _COLLECTED_BYTES // max(1, draw.nbytes))
        if full or (kept and draw.shape != kept[0].shape):
            yield torch.stack(kept)
            kept = []
        kept.append(draw)
    if kept:
        yield torch.stack(kept)


def form_of(network: nn.Module) -> tuple[Hashable, list[Tensor]]:
    """Return what a network does with its weights and buffers, and these, each once.

    Networks of the same form do the same with theirs. None has that of any other if nobody can
    tell, as with hooks, in train mode, or where a module keeps something that is its own.
    """
    nobodys: tuple[Hashable, list[Tensor]] = object(), []
    if torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks:
        return nobodys
    form: list[Any] = []
    found: dict[int, Tensor] = {}
    places: dict[int, int] = {}
    for module in modules_in(network):
        own = vars(module)
        if [*own][: len(_OF_ALL_MODULES)] != _OF_ALL_MODULES:  # as of a scripted one
            return nobodys
        if module.training or any(own[name] for name in _HOOKS):
            return nobodys
        form.append(type(module))
        form += [(n, _plain(v)) for n, v in islice(own.items(), len(_OF_ALL_MODULES), None)]
        form += [(n, places.setdefault(id(m), len(places))) for n, m in own["_modules"].items()]
        for name, each in (*own["_parameters"].items(), *own["_buffers"].items()):
            if each is None:
                form.append(name)
                continue
            if type(each) not in _TENSORS or each.layout is not torch.strided:
                return nobodys
            found[id(each)] = each
            place = places.setdefault(id(each), len(places))
            form.append((name, place, each.shape, each.dtype, each.device))
    return tuple(form), list(found.values())


def _inputs(x: Batch) -> list[Tensor]:
    return [*x.values()] if isinstance(x, Mapping) else [x]


def _plain(value: Any) -> Hashable:
    """Return a value that is equal to those that mean the same; of others only to itself."""
    if type(value) in _PLAIN:
        return type(value), value
    if type(value) in (tuple, list, torch.Size):
        return type(value), *map(_plain, value)
    return id(value)


class StackedMembers:
    """Networks whose outputs are made at once, by vmap over their weights, where that is faster.

    What they share, such as a trunk, runs once. A few rows of the first batch of a kind are tried
    in both ways: where these differ, or vmap cannot go, as where a network changes its buffers or
    looks at its numbers, members run in turn. Weights are stacked at the first batch, and kept as
    long as this object, which is for one prediction: they take as much memory as the members'.

    Args:
        networks: the members, in eval mode.
        in_turn: yields their outputs `(m, N, ...)` for a batch, some at a time; by default each is
            called. Its second argument is how many at most.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        in_turn: Callable[[Batch, int | None], Iterator[Tensor]] | None = None,
    ) -> None:
        self.networks = networks
        self.in_turn = in_turn or partial(each_in_turn, networks)
        self.fast_in_turn = in_turn is None  # with nothing between the calls
        self._stack: dict[str, Tensor] | None = None
        self._form: Hashable = None
        self._shared = False

    def draws(self, x: Batch, chunk: int | None = None) -> Iterator[Tensor]:
        """Yield the members' outputs for a batch, at most `chunk` of them at a time."""
        size = 1 if torch.is_grad_enabled() else self._fitting(x, chunk or len(self.networks))
        if size > 1 and self._vmap_is_right(x):
            yield from self._groups(x, size)
        else:
            yield from self.in_turn(x, chunk)

    def _groups(self, x: Batch, size: int) -> Iterator[Tensor]:
        for done in range(0, len(self.networks), size):
            try:
                outputs = self._at_once(self.networks[0], x, slice(done, done + size))
            except Exception as error:  # if it is the network's own, it comes again
                name = type(self.networks[0]).__name__
                _log.warning("%s runs its members one by one, this time: %s", name, error)
                yield from islice(self.in_turn(x, 1), done, None)
                return
            yield outputs

    def _vmap_is_right(self, x: Batch) -> bool:
        """Return whether members come out the same as one, which a few rows tell once."""
        inputs = ((each.shape[1:], each.dtype, each.device) for each in _inputs(x))
        form = self._form, len(self.networks), *inputs
        known = _verdicts.setdefault(self.networks[0], {})
        if form not in known:
            known[form] = self._agree(x)
        return known[form]

    def _agree(self, x: Batch) -> bool:
        """Return whether two members come out as in turn for a few rows, and leave no traces."""
        first = self.networks[0]
        few, few_too = (each_input(x, lambda values: values[:_FEW_ROWS].clone()) for _ in range(2))
        # A copy with the same weights, in which what a pass leaves behind does no harm.
        own = {id(each): each for each in (*first.parameters(), *first.buffers())}
        try:
            with others_seeded(None), seeded(0, devices_of(first)):
                copy = deepcopy(first, own)
                before = _traces(copy)
                outputs = self._at_once(copy, few, slice(0, 2))
                if _traces(copy) != before:
                    raise NeedsLoop("they keep what they compute, or draw random numbers")
                expected = torch.cat([*islice(self.in_turn(few_too, 1), 2)])
        except Exception as error:  # whatever vmap or a copy has against it
            _log.info("%s runs its members one by one: %s", type(first).__name__, error)
            return False
        return all(agree(expected, outputs))

    def _at_once(self, network: nn.Module, x: Batch, members: slice) -> Tensor:
        """Return outputs of some members by one network, in which their weights take turns."""
        stack = self._stack or {}
        numbers = torch.arange(len(self.networks), device=_inputs(x)[0].device)[members]
        versions = [weights._version for weights in stack.values()]

        def one(number: Tensor, weights: dict[str, Tensor]) -> Tensor:
            mode, stream = Randomness(), Stream(number)
            mode.draw, mode.stream = number, stream
            with mode, swapped_weights(network, weights):
                outputs = raw_outputs(network, x)
                there = dict(network.named_buffers())
            if stream.shapes or any(there.get(name, w) is not w for name, w in weights.items()):
                raise NeedsLoop("they draw random numbers, or change their buffers")
            return outputs

        with without_slow_rules():
            group = {name: weights[members] for name, weights in stack.items()}
            outputs: Tensor = vmap(one, randomness="error")(numbers, group)
        if [weights._version for weights in stack.values()] != versions:
            raise NeedsLoop("they change their weights or buffers")
        return outputs

    def _fitting(self, x: Batch, wanted: int) -> int:
        """Return how many members to take at once for a batch, 1 where they run in turn."""
        members = len(self.networks)
        if self.fast_in_turn and _inputs(x)[0].device.type == "cpu":
            return 1
        if self._stack is None:
            self._form, self._stack, self._shared = _stacked(self.networks)
        first, rows = self.networks[0], rows_of(x)
        if not self._stack or not fast_in_vmap(first, self._stack, x):
            return 1
        if self.fast_in_turn and rows > _FEW_IMAGES and convolutions(first, self._stack):
            return 1
        computed = max(16 * sum(each.nbytes for each in _inputs(x)), rows * 2**15)
        weights = sum(each.nbytes for each in self._stack.values()) // members
        size = min(wanted, max(1, _GROUP_BYTES // (computed + weights)))
        return 1 if size < members and self._shared else size  # which would run for each group


def _traces(network: nn.Module) -> tuple[Any, ...]:
    """Return what a pass changes that is none of torch's: what modules keep, other generators."""
    return form_of(network)[0], random.getstate(), np.random.get_state(legacy=True)[2]  # type: ignore[index] # noqa: NPY002


def _stacked(networks: Sequence[nn.Module]) -> tuple[Hashable, dict[str, Tensor], bool]:
    """Return the form of networks, their weights stacked by name, and whether they share others.

    There are no weights if they have not one form.
    """
    form, first = form_of(networks[0])
    columns = [[each] for each in first]
    for network in networks[1:]:
        other, found = form_of(network)
        if other != form:
            return None, {}, False
        for column, each in zip(columns, found, strict=True):
            column.append(each)
    own = (*networks[0].named_parameters(), *networks[0].named_buffers())
    names = {id(each): name for name, each in own}
    stack = {
        names[id(column[0])]: torch.stack(column)
        for column in columns
        if any(each is not column[0] for each in column)
    }
    return form, stack, len(stack) < len(columns)
