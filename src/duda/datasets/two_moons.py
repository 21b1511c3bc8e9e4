"""Two moons: half circles that reach into each other."""

from __future__ import annotations

import math

import torch

from duda.datasets.base import Split, generator

__all__ = ["two_moons"]


def two_moons(seed: int = 0, size: int = 500) -> Split:
    """Return scikit-learn's two moons, noise 0.2; out of distribution is a wide ring about them.

    >>> two_moons().train[0].shape
    torch.Size([500, 2])
    """
    from sklearn.datasets import make_moons

    points, labels = make_moons(2 * size, noise=0.2, random_state=seed)
    x, y = torch.from_numpy(points).float(), torch.from_numpy(labels).long()
    random = generator(seed)
    angle = 2 * math.pi * torch.rand(size, generator=random)
    radius = 4 + 2 * torch.rand(size, generator=random)
    ring = torch.stack([0.5 + radius * angle.cos(), 0.25 + radius * angle.sin()], dim=1)
    return Split(
        name="two-moons",
        task="classification",
        train=(x[:size], y[:size]),
        test=(x[size:], y[size:]),
        classes=("upper", "lower"),
        ood=ring,
        ood_name="a ring about the moons",
    )
