"""Seeds of members and epochs, one for each, so that no generator's state needs to be stored."""

from __future__ import annotations

import numpy as np
import torch

from duda.checks import check_whole

__all__ = ["epoch_seed", "new_seed"]


def epoch_seed(seed: int, member: int, epoch: int, use: str = "") -> int:
    """Return 63 bits that depend on all three numbers, and on their use, by numpy's `SeedSequence`.

    >>> epoch_seed(0, 0, 1) == epoch_seed(0, 0, 1), epoch_seed(0, 0, 1) == epoch_seed(0, 1, 0)
    (True, False)
    """
    sequence = np.random.SeedSequence([seed % 2**64, member, epoch, *use.encode()])
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def new_seed(seed: int | None) -> int:
    """Return `seed`, or one drawn from torch's global generator.

    Raises:
        ValueError: if `seed` is no whole number.
    """
    if seed is None:
        return int(torch.randint(2**63 - 1, ()).numpy())
    return check_whole(seed, "seed")
