"""Sine wave with a little noise, asked far beyond where it was seen."""

from __future__ import annotations

import torch

from duda.datasets.base import Split, one_input_problem

__all__ = ["sinusoid"]

NOISE_STD = 0.1


def sinusoid(seed: int = 0, size: int = 500) -> Split:
    """Return y = 2 sin(0.75 x) + N(0, 0.1²), x uniform in [-8, 8], shown on [-16, 16].

    >>> sinusoid().train[0].shape
    torch.Size([500, 1])
    """
    return one_input_problem(
        "sinusoid",
        truth=lambda x: 2 * torch.sin(0.75 * x),
        noise=lambda x: torch.full_like(x, NOISE_STD),
        train_range=(-8.0, 8.0),
        shown_range=(-16.0, 16.0),
        seed=seed,
        size=size,
    )
