"""Handwritten digits of scikit-learn, which need no files; and pieces of its photographs."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from duda.datasets.base import Split, generator

__all__ = ["digits", "photo_patches"]

TRAIN_SIZE = 1000
SIDE = 8
LEAST_CONTRAST = 0.15  # pieces of plain sky hold nothing but the noise of the camera


def digits(seed: int = 0) -> Split:
    """Return 1000 of the 1797 digits, `(N, 1, 8, 8)`, for training and the others for testing.

    Both parts have the classes in the same proportions, in an order that takes turns. Out of
    distribution are as many patches of scikit-learn's two sample photographs as there are test
    digits.

    >>> digits().test[0].shape
    torch.Size([797, 1, 8, 8])
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = torch.from_numpy(bunch.images).float().unsqueeze(1) / 16
    y = torch.from_numpy(bunch.target).long()
    random = generator(seed)
    order = _taking_turns(y, random)
    train, test = order[:TRAIN_SIZE], order[TRAIN_SIZE:]
    return Split(
        name="digits",
        task="classification",
        train=(x[train], y[train]),
        test=(x[test], y[test]),
        classes=tuple(str(digit) for digit in range(10)),
        ood=photo_patches(len(test), random),
        ood_name="patches of photographs",
    )


def _taking_turns(y: Tensor, random: torch.Generator) -> Tensor:
    """Return a random order in which each beginning has its share of every class."""
    order = torch.randperm(len(y), generator=random)
    by_class = order[y[order].argsort(stable=True)]
    places = torch.cat([(torch.arange(count) + 0.5) / count for count in y.bincount()])
    return by_class[places.argsort(stable=True)]


def photo_patches(count: int, random: torch.Generator) -> Tensor:
    """Return grey patches `(count, 1, 8, 8)` of two photographs, each with its contrast at full.

    They have the digits' grey levels, sixteenths.

    Squares of 32 to 160 pixels, shrunk by averaging; those of hardly any contrast are left out.
    """
    from sklearn.datasets import load_sample_images

    grey = [
        torch.from_numpy(np.asarray(image, dtype=np.float32) / 255).mean(2)
        for image in load_sample_images().images
    ]
    patches: list[Tensor] = []
    while len(patches) < count:
        picture = grey[_below(len(grey), random)]
        side = 32 + _below(129, random)
        top = _below(picture.shape[0] - side + 1, random)
        left = _below(picture.shape[1] - side + 1, random)
        piece = picture[top : top + side, left : left + side]
        patch = F.adaptive_avg_pool2d(piece[None], SIDE)
        low, high = patch.min(), patch.max()
        if high - low >= LEAST_CONTRAST:
            patches.append(((patch - low) / (high - low) * 16).round() / 16)
    return torch.stack(patches)


def _below(limit: int, random: torch.Generator) -> int:
    return int(torch.randint(limit, (), generator=random))
