"""Plans: networks that were captured, kept as long as they are the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from duda.batches import Batch
from duda.sampling.captured import Captured, CapturedRunner
from duda.sampling.randomness import Randomness

__all__ = ["capture_asked_for", "captured", "capturing", "forget_captured", "same_numbers"]

_wanted: ContextVar[dict[nn.Module, Captured] | None] = ContextVar("_wanted", default=None)
_plans: WeakKeyDictionary[nn.Module, dict[Any, Captured]] = WeakKeyDictionary()


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
    plan = Captured(network, x, mode)
    if plan.as_rows is not None and not _rows_are_independent(plan, network, x, mode):
        plan.as_rows = None
    _plans.setdefault(network, {})[type(mode)] = plan
    wanted[network] = plan
    return True


def forget_captured(networks: Iterable[nn.Module]) -> None:
    """Let draws of networks be made without what was captured."""
    for network in networks:
        _plans.pop(network, None)


def captured(network: nn.Module, x: Batch, mode: Randomness) -> Captured | None:
    """Return the network as it was captured for inputs such as `x`, if it is still the same."""
    plan = _plans.get(network, {}).get(type(mode))
    return plan if plan is not None and plan.suits(network, x, mode) else None


def same_numbers(one: Tensor, other: Tensor) -> bool:
    """Return whether tensors are the same but for rounding, of that which is largest in them.

    >>> same_numbers(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1e-5]))
    True
    """
    largest = float(torch.stack([one, other]).nan_to_num(0, 0, 0).abs().max())
    tolerance = torch.finfo(one.dtype).eps ** 0.5 * largest
    return torch.allclose(one, other, rtol=0, atol=tolerance, equal_nan=True)


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
    return same_numbers(draws, torch.cat([apart.run(0, 1), apart.run(1, 1)]))
