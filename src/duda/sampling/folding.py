"""Folding: draws as rows of one batch, for networks of which nearly all differs by draw.

A call costs under vmap about twice what it costs without, which small batches feel. That rows have
nothing to do with one another, no matter which draw they are of, is found out by two draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from duda.activations import stored_tensors
from duda.agreement import agree
from duda.batches import Batch, each_input
from duda.graphs import settings_of
from duda.sampling.calls import NeedsLoop
from duda.sampling.randomness import Randomness
from duda.sampling.tiles import hooked, share_of_draws
from duda.streams import RowStream
from duda.trees import tensors

__all__ = ["Folding"]

_DRAWS = 2
_SHARE = 0.9  # of what a pass computes, below which it pays to compute once what draws share

_found: WeakKeyDictionary[nn.Module, tuple[Any, bool]] = WeakKeyDictionary()


class Folding:
    """Whether a network's draws can be rows of one batch, which holds as long as it is the same.

    Args:
        network: what is called.
        x: the inputs of N examples.
        randomness: makes what tells the draws apart.
        start: where numbers of these rows begin, if they are not the first of a batch.
    """

    def __init__(
        self,
        network: nn.Module,
        x: Batch,
        randomness: Callable[[], Randomness],
        start: Callable[[int, tuple[int, ...]], int] | None,
    ) -> None:
        self.network, self.x, self.randomness, self.start = network, x, randomness, start
        self.pays = share_of_draws(network, x, randomness) >= _SHARE
        self._key: Any = None
        self._known: bool | None = None
        if self.pays and not hooked(network):
            forms = [(each.shape[1:], each.dtype, each.device) for each in tensors(x)]
            self._key = [type(randomness()), forms, settings_of(network)]
            before, known = _found.get(network, (None, False))
            self._known = known if before == self._key else None
        self._stored = len(stored_tensors(network)) if self.asks else 0

    @property
    def asks(self) -> bool:
        """Whether nobody knows yet."""
        return self._key is not None and self._known is None

    def __bool__(self) -> bool:
        return bool(self._known)

    def learn(self, draws: Tensor, keys: Tensor) -> None:
        """Find out, by draws that were made in another way, and their keys."""
        if not self.asks or len(keys) < _DRAWS:
            return
        stores = len(stored_tensors(self.network)) != self._stored
        try:
            self._known = not stores and all(agree(draws[:_DRAWS], self(keys[:_DRAWS])))
        except Exception:  # whatever the network has against so many rows
            self._known = False
        _found[self.network] = self._key, self._known

    def __call__(self, keys: Tensor) -> Tensor:
        """Return the draws `(m, N, ...)` of some keys."""
        draws = len(keys)

        def repeated(values: Tensor) -> Tensor:
            return values.repeat(draws, *[1] * (values.ndim - 1))

        mode, stream = self.randomness(), RowStream(keys, None)
        stream.repeated, stream.start = True, self.start
        mode.stream = stream
        with mode:
            outputs = mode.call(self.network, each_input(self.x, repeated))
        if not mode.found:
            raise NeedsLoop("it shows no randomness")
        return outputs.reshape(draws, -1, *outputs.shape[1:])
