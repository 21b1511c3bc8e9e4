"""What compilers leave alone: functions that run as they are, and networks as they were."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, ParamSpec, TypeVar

import torch

__all__ = ["as_written", "uncompiled"]

P = ParamSpec("P")
R = TypeVar("R")

_lock = Lock()
_stances: list[Any] = []  # one for each who runs now, of which the first knows how it was before


@contextmanager
def as_written() -> Iterator[None]:
    """Let what was passed through `torch.compile` run as it was before, for as long as it lasts.

    Modes and transforms of torch see none of the calls of what is compiled, or only some.

    >>> add = torch.compile(torch.add, backend="eager")
    >>> with as_written():
    ...     add(1, torch.tensor(2))
    tensor(3)
    """
    if "torch._dynamo" not in sys.modules or torch.compiler.is_compiling():
        yield
        return
    with _lock:  # all threads have one stance
        first = not _stances
        _stances.append(torch.compiler.set_stance("force_eager") if first else None)
    try:
        yield
    finally:
        with _lock:
            before = _stances.pop()
            if before is not None:
                before.__exit__(None, None, None)


def uncompiled(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that `torch.compile` breaks its graph for, and no trace or export records.

    It reads its input batch by batch, and may draw random numbers: a recording would do for all
    inputs what was right for one.

    >>> @uncompiled
    ... def batches(x):
    ...     return len(x.split(256))
    >>> batches(torch.zeros(300))
    2
    """

    @functools.cache
    def apart() -> Callable[P, R]:
        """Return the function that compilers leave alone, which takes long to make."""
        return torch.compiler.disable(function)  # type: ignore[no-any-return,no-untyped-call]

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
            raise RuntimeError(_refusal(function.__name__, "torch.jit.trace"))
        if getattr(torch.compiler, "is_exporting", bool)():  # torch 2.6 fails by itself
            raise RuntimeError(_refusal(function.__name__, "torch.export"))
        # Slow to import, and there if anyone compiles; what is being compiled looks no further.
        if torch.compiler.is_compiling() or "torch._dynamo" in sys.modules:
            return apart()(*args, **kwargs)
        return function(*args, **kwargs)

    return call


def _refusal(name: str, by: str) -> str:
    return (
        f"`{name}` cannot be recorded by `{by}`, because what is right for one input would be done "
        "for all: record the network, or `model.forward`, which is one draw."
    )
