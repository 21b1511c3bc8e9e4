"""Cubic regression of Hernández-Lobato & Adams 2015, with noise that is constant or grows."""

from __future__ import annotations

import torch
from torch import Tensor

from duda.datasets.base import Split, one_input_problem

__all__ = ["cubic", "heteroscedastic_cubic"]

NOISE_STD = 3.0


def cubic(seed: int = 0, size: int = 500) -> Split:
    """Return y = x³ + N(0, 3²), x uniform in [-4, 4], shown on [-7, 7].

    Source: Hernández-Lobato & Adams 2015, section 5.1.

    >>> cubic().curve.train_range
    (-4.0, 4.0)
    """
    return _cubic("cubic", seed, size, heteroscedastic=False)


def heteroscedastic_cubic(seed: int = 0, size: int = 500) -> Split:
    """Return the same with a noise that grows, of standard deviation 0.5 + 2.5 |x|."""
    return _cubic("cubic-heteroscedastic", seed, size, heteroscedastic=True)


def _cubic(name: str, seed: int, size: int, *, heteroscedastic: bool) -> Split:
    def noise(x: Tensor) -> Tensor:
        return 0.5 + 2.5 * x.abs() if heteroscedastic else torch.full_like(x, NOISE_STD)

    return one_input_problem(
        name,
        truth=lambda x: x**3,
        noise=noise,
        train_range=(-4.0, 4.0),
        shown_range=(-7.0, 7.0),
        seed=seed,
        size=size,
    )
