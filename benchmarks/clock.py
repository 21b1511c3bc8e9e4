"""Timing several ways of doing the same work in turn, so that a noisy machine is fair to all."""

from __future__ import annotations

import argparse
import gc
import platform
import statistics
import time
from collections.abc import Callable, Sequence

import torch

__all__ = ["asked_device", "machine", "ratio", "side_by_side"]


def side_by_side(ways: dict[str, Callable[[], object]], rounds: int = 7) -> dict[str, list[float]]:
    """Return the seconds that each way took in each round, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for count in range(rounds + 1):
        for name, way in ways.items():
            gc.collect()
            _wait()
            start = time.perf_counter()
            way()
            _wait()
            if count:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _wait() -> None:
    """Let a GPU finish what it was asked for."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def asked_device(name: str, arguments: Sequence[str]) -> torch.device:
    """Return the device that the command line of a benchmark names by `--device`; by default cpu.

    >>> asked_device("sampling", ["--device", "cpu"])
    device(type='cpu')
    """
    parser = argparse.ArgumentParser(f"benchmarks.{name}")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    return parser.parse_args(arguments).device  # type: ignore[no-any-return]


def ratio(seconds: dict[str, list[float]], one: str, other: str) -> float:
    """Return the median over rounds of how many times longer `one` took than `other`."""
    pairs = zip(seconds[one], seconds[other], strict=True)
    return statistics.median(a / b for a, b in pairs)


def machine(device: torch.device | None = None) -> str:
    """Return what the figures were measured on: a processor, if no other device is given."""
    of_gpu = device is not None and device.type == "cuda"
    name = torch.cuda.get_device_name(device) if of_gpu else platform.machine()
    return f"torch {torch.__version__}, {name}, {torch.get_num_threads()} threads"
