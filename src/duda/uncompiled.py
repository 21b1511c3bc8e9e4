"""What compilers leave alone: functions that run as they are, and raise where they are recorded."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

__all__ = ["uncompiled"]

P = ParamSpec("P")
R = TypeVar("R")


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

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if torch.jit.is_tracing():  # type: ignore[attr-defined,no-untyped-call]
            raise RuntimeError(_refusal(function.__name__, "torch.jit.trace"))
        if getattr(torch.compiler, "is_exporting", bool)():  # torch 2.6 fails by itself
            raise RuntimeError(_refusal(function.__name__, "torch.export"))
        # Slow to import, and there if anyone compiles; what is being compiled looks no further.
        if torch.compiler.is_compiling() or "torch._dynamo" in sys.modules:
            apart: Callable[P, R] = torch.compiler.disable(function)  # type: ignore[no-untyped-call]
            return apart(*args, **kwargs)
        return function(*args, **kwargs)

    return call


def _refusal(name: str, by: str) -> str:
    return (
        f"`{name}` cannot be recorded by `{by}`, because what is right for one input would be done "
        "for all: record the network, or `model.forward`, which is one draw."
    )
