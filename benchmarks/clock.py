"""Timing several ways of doing the same work in turn, so that a noisy machine is fair to all."""

from __future__ import annotations

import gc
import platform
import statistics
import time
from collections.abc import Callable

import torch

__all__ = ["machine", "side_by_side"]


def side_by_side(ways: dict[str, Callable[[], object]], rounds: int = 7) -> dict[str, list[float]]:
    """Return the seconds that each way took in each round, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for count in range(rounds + 1):
        for name, way in ways.items():
            gc.collect()
            start = time.perf_counter()
            way()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if count:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(seconds: dict[str, list[float]], one: str, other: str) -> float:
    """Return the median over rounds of how many times longer `one` took than `other`."""
    pairs = zip(seconds[one], seconds[other], strict=True)
    return statistics.median(a / b for a, b in pairs)


def machine() -> str:
    """Return what the figures were measured on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    return f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads"
