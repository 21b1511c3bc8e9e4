"""Randomness of a draw: what happens to the network's calls, or its weights, in each of them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch._C._functorch import is_batchedtensor
from torch.nn.modules.conv import _ConvNd

from duda.batches import Batch, rows_of
from duda.outputs import raw_outputs
from duda.preservation import modes_kept
from duda.sampling.calls import HANDLERS, NeedsLoop
from duda.sampling.networks import swapped_weights
from duda.streams import Stream, new_seed
from duda.thread_lock import one_thread
from duda.trees import tensors
from duda.uncompiled import as_written
from duda.written import GuardingMode, habit_of

__all__ = [
    "DrawnWeights",
    "HiddenDropout",
    "Randomness",
    "convolutions",
    "fast_in_vmap",
]

_FEW_ROWS = 8


class Randomness(GuardingMode):
    """Makes the network's own random calls, so that each draw gets the numbers that belong to it.

    Attributes:
        found: how many things may differ by draw, were it with p = 1.
        draw: the number of the draw; inside vmap on the axis that vmap hides.
        stream: its random numbers; without one all calls are left to torch.
        same_weights: whether a module has the same weights in every draw.
        names: those of the weights that differ by draw, if it is known before which.
        trained: modules that run in train mode.
    """

    same_weights: ClassVar[bool] = True
    turns_dropout_on: ClassVar[bool] = False
    names: Collection[str] = ()
    trained: Sequence[nn.Module] = ()

    def __init__(self) -> None:
        super().__init__()
        self.found = 0
        self.draw: Tensor | None = None
        self.stream: Stream | None = None
        self._overwritten: dict[int, weakref.ref[Tensor]] = {}

    @property
    def vmapped(self) -> bool:
        """Whether all draws of a chunk are made at once."""
        return self.draw is not None and is_batchedtensor(self.draw)

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `func`, or what gives it the random numbers of the draw."""
        kwargs = kwargs or {}
        if self.guard is not None and (kwargs or habit_of(func) is not None):
            self.guard.note(func, args, kwargs)
        if self._overwritten:
            self._check_overwritten(args)
        handler = HANDLERS.get(func)
        if handler is None or self.stream is None or (kwargs and _has_its_own(kwargs)):
            return func(*args, **kwargs)
        return handler(self, self.stream, func, args, kwargs)

    @property
    def differs(self) -> bool:
        """Whether a call of the network has met anything yet that may differ by draw."""
        return self.stream is not None and len(self.stream.shapes) > 0

    def moved_to(self, copies: Mapping[int, nn.Module]) -> None:
        """Take copies of modules, which are known by the `id` of what they are copies of."""

    @as_written()
    def call(self, network: nn.Module, x: Batch) -> Tensor:
        """Return the raw outputs of one draw."""
        return raw_outputs(network, x)

    def drops(self, p: float, training: bool) -> bool:
        """Return whether a dropout is on, or is turned on, and count it; with p = 0 none is."""
        on = p > 0 and (self.turns_dropout_on or training)
        self.found += on
        return on

    def overwritten(self, target: Tensor, result: Tensor) -> Tensor:
        """Write `result` to `target`, and return it."""
        if self.vmapped and not is_batchedtensor(target):
            # vmap cannot write draws into what they share: from now on nobody may use `target`.
            self._overwritten[id(target)] = weakref.ref(target)
            return result
        return target.copy_(result)

    def _check_overwritten(self, args: Any) -> None:
        for arg in args:
            reference = self._overwritten.get(id(arg))
            if reference is not None and reference() is arg:
                raise NeedsLoop("a tensor that random numbers have overwritten")


class HiddenDropout(Randomness):
    """While active, every dropout drops, also in modules that are in eval mode.

    Args:
        trained: modules that `call` runs in train mode, as what is random in them is never called
            in eval mode: `scaled_dot_product_attention(..., p if self.training else 0.0)`.

    >>> with HiddenDropout() as mode:
    ...     y = torch.nn.Dropout(0.5).eval()(torch.ones(100))
    >>> mode.found, sorted(set(y.tolist()))
    (1, [0.0, 2.0])
    """

    turns_dropout_on = True

    def __init__(self, trained: Sequence[nn.Module] = ()) -> None:
        super().__init__()
        self.trained = trained

    def moved_to(self, copies: Mapping[int, nn.Module]) -> None:
        """Run the copies of modules in train mode."""
        self.trained = [copies[id(module)] for module in self.trained]

    @as_written()
    def call(self, network: nn.Module, x: Batch) -> Tensor:
        """Return the raw outputs of one draw."""
        with one_thread, modes_kept(self.trained):
            for module in self.trained:
                module.training = True
            return raw_outputs(network, x)

    def __enter__(self) -> Self:
        """Take random numbers from torch's global generator, if the engine has not given any."""
        if self.stream is None:
            self.stream = Stream(torch.tensor(new_seed()))
        return super().__enter__()


class DrawnWeights(Randomness):
    """Puts new weights into a network for each draw.

    Args:
        network: the network, which may be a part of what is called.
        weights: from the number of the draw to the weights that differ, by their names; torch's
            random functions, `F.dropout` among them, give each draw numbers of its own.
        names: which weights these are; without them no capture knows what draws share.
    """

    same_weights = False

    def __init__(
        self,
        network: nn.Module,
        weights: Callable[[Tensor | None], Mapping[str, Tensor]],
        names: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.network = network
        self.weights = weights
        self.names = names
        self._unread: set[int] = set()  # weights that no call has read yet
        self._drawing = 0

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `func`, or what gives it the random numbers of the draw."""
        self.note_reads(args, kwargs)
        return super().__torch_function__(func, types, args, kwargs)

    def note_reads(self, *arguments: Any) -> None:
        """Take note of whether a call reads a weight that is drawn, after which draws differ."""
        if self._unread and any(id(each) in self._unread for each in tensors(arguments)):
            self._unread.clear()
            self._drawing = -1

    @property
    def differs(self) -> bool:
        """Whether a call of the network has met a drawn weight or other random numbers yet."""
        return self.stream is not None and len(self.stream.shapes) > self._drawing

    def moved_to(self, copies: Mapping[int, nn.Module]) -> None:
        """Put the weights into the copy of the network."""
        self.network = copies[id(self.network)]

    @as_written()
    def call(self, network: nn.Module, x: Batch) -> Tensor:
        """Return the raw outputs of the network with the weights of one draw."""
        drawn = self.weights(self.draw)
        self.found += len(drawn)
        self._drawing = 0 if self.stream is None else len(self.stream.shapes)
        self._unread = {id(weight) for weight in drawn.values()}
        with swapped_weights(self.network, drawn):
            return raw_outputs(self.network, x)


def _has_its_own(kwargs: dict[str, Any]) -> bool:
    """Return whether a random call is given what only torch can use."""
    if kwargs.get("generator") is not None or kwargs.get("out") is not None:
        return True
    return bool(kwargs.get("requires_grad"))


def convolutions(network: nn.Module, names: Collection[str]) -> list[Tensor]:
    """Return the weights of convolutions that have one of these names."""
    return [
        module.weight
        for name, module in network.named_modules()
        if isinstance(module, _ConvNd) and (f"{name}.weight" if name else "weight") in names
    ]


def fast_in_vmap(network: nn.Module, names: Collection[str], x: Batch) -> bool:
    """Return whether draws of the weights with these names are faster made at once than in turn.

    They are, in attention too, but for convolutions on a CPU that follow one another: their inputs
    differ by draw as well, which makes them grouped convolutions (benchmarks/dropconnect.py).
    """
    found = convolutions(network, names)
    on_a_cpu = any(weight.device.type == "cpu" for weight in found)
    return not on_a_cpu or len(found) < 2 or rows_of(x) <= _FEW_ROWS
