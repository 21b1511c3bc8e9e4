"""Calls that torch dispatches, each of which costs a processor's time while a GPU waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Calls", "calls_of"]


class Calls(TorchDispatchMode):
    """Notes what is asked of torch, views among it."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Note and make a call."""
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def calls_of(work: Callable[[], object]) -> int:
    """Return how many calls work makes from its second time on."""
    work()
    with Calls() as calls:
        work()
    return len(calls.names)
