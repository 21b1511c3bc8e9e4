"""Plans: networks that were captured, kept as long as they are the same.

A network is captured where `prepare` asks for it, and by itself where that pays: after its draws
have taken `_SECONDS`, ten times what a capture costs, on a GPU in any batches, on a CPU in batches
of less than `_SHORT` seconds, of which the graph saves a quarter. It is tried once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from duda.agreement import agree
from duda.batches import Batch, each_input
from duda.graphs import NotCaptured
from duda.sampling.captures.captured_network import Captured, CapturedRunner
from duda.sampling.randomness import Randomness
from duda.streams import Stream, draw_keys
from duda.transfer import sent
from duda.trees import tensors

__all__ = [
    "capture_asked_for",
    "capture_where_it_pays",
    "captured",
    "capturing",
    "forget_captured",
    "timed",
]

T = TypeVar("T")

_log = logging.getLogger(__name__)
_clock = time.perf_counter
_SECONDS = 20.0
_SHORT = 0.05
_ROWS = 4  # on which draws are compared
_DRAWS = 2

_wanted: ContextVar[dict[nn.Module, Captured] | None] = ContextVar("_wanted", default=None)
_spent: WeakKeyDictionary[nn.Module, dict[Any, _Spent]] = WeakKeyDictionary()
_plans: WeakKeyDictionary[nn.Module, dict[Any, Captured]] = WeakKeyDictionary()


@dataclass
class _Spent:
    """How long draws by a network have taken that was not captured.

    Attributes:
        seconds: in all.
        batches: in how many batches.
        tried: whether a capture was tried.
    """

    seconds: float = 0.0
    batches: int = 0
    tried: bool = False

    def pays(self, device: torch.device, mode: Randomness) -> bool:
        """Return whether a capture would soon have saved what it costs."""
        if self.tried or self.seconds < _SECONDS:
            return False
        return device.type != "cpu" or (mode.same_weights and self.seconds / self.batches < _SHORT)


@contextmanager
def capturing() -> Iterator[dict[nn.Module, Captured]]:
    """While active, networks of which draws are asked are captured instead, and collected."""
    found: dict[nn.Module, Captured] = {}
    token = _wanted.set(found)
    try:
        yield found
    finally:
        _wanted.reset(token)


def capture_asked_for(network: nn.Module, x: Batch, mode: Randomness) -> bool:
    """Capture the network for inputs such as `x`, if that is what draws are asked for.

    Raises:
        NotCaptured: if it cannot be.
    """
    wanted = _wanted.get()
    if wanted is None:
        return False
    wanted[network] = _keep(network, x, mode)
    return True


def _keep(network: nn.Module, x: Batch, mode: Randomness) -> Captured:
    plan = Captured(network, x, mode)
    if plan.as_rows is not None and not _rows_are_independent(plan, network, x, mode):
        plan.as_rows = None
    _plans.setdefault(network, {})[type(mode)] = plan
    return plan


def timed(network: nn.Module, mode: Randomness, draws: Iterator[T], first: bool) -> Iterator[T]:
    """Yield draws by a network that was not captured, and note how long they take.

    They are those of a batch, or of more rows of it, if these are not the first.
    """
    found = _spent.setdefault(network, {}).setdefault(type(mode), _Spent())
    found.batches += first
    while True:
        start = _clock()
        try:
            each = next(draws)
        except StopIteration:
            return
        finally:
            found.seconds += _clock() - start
        yield each


def capture_where_it_pays(
    network: nn.Module, x: Batch, randomness: Callable[[], Randomness]
) -> None:
    """Capture the network for inputs such as `x` if its draws have taken long, and tell why not."""
    mode = randomness()
    spent = _spent.get(network, {}).get(type(mode))
    if spent is None or not spent.pays(next(tensors(x)).device, mode):
        return
    spent.tried = True
    name = type(network).__name__
    few = each_input(x, lambda values: values[:_ROWS])
    try:
        with torch.no_grad():
            plan = _keep(network, few, mode)
            _check(plan, network, few, randomness)
    except Exception as error:
        _plans.get(network, {}).pop(type(mode), None)
        _log.info("%s is not captured, because %s", name, error)
    else:
        _log.info("%s is captured, as its draws have taken %.0f s", name, spent.seconds)


def _check(
    plan: Captured, network: nn.Module, x: Batch, randomness: Callable[[], Randomness]
) -> None:
    """Raise an error unless draws by a plan are those that the network makes."""
    device = next(tensors(x)).device
    keys = sent(draw_keys(0, range(_DRAWS)), device)
    draws = []
    for number, key in enumerate(keys):
        mode = randomness()
        mode.draw, mode.stream = torch.tensor(number, device=device), Stream(key)
        with mode:
            draws.append(mode.call(network, each_input(x, Tensor.clone)))
    runner = CapturedRunner(plan, network, x, randomness, 0, None, vmapped=False)
    for number, draw in enumerate(draws):
        if not all(agree(draw, runner.run(number, 1)[0])):
            raise NotCaptured("a draw of the graph is another than one of the network")


def forget_captured(networks: Iterable[nn.Module]) -> None:
    """Let draws of networks be made without what was captured."""
    for network in networks:
        _plans.pop(network, None)


def captured(network: nn.Module, x: Batch, mode: Randomness) -> Captured | None:
    """Return the network as it was captured for inputs such as `x`, if it is still the same."""
    plan = _plans.get(network, {}).get(type(mode))
    return plan if plan is not None and plan.suits(network, x, mode) else None


def _rows_are_independent(plan: Captured, network: nn.Module, x: Batch, mode: Randomness) -> bool:
    """Return whether draws as rows of one batch are those that each has for itself."""
    together, apart = (
        CapturedRunner(plan, network, x, lambda: mode, 0, None, vmapped=vmapped)
        for vmapped in (True, False)
    )
    try:
        draws = together.run(0, 2)
    except Exception:
        return False
    return all(agree(draws, torch.cat([apart.run(0, 1), apart.run(1, 1)])))
