"""Mean losses over the terms of several batches, of which not all count alike."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from duda.likelihoods import Likelihood

__all__ = ["TermMean"]


class TermMean:
    """Sums up the losses of members, each the mean over the terms of a batch, in float64.

    Args:
        likelihood: says how many terms there are.

    >>> from duda import Categorical
    >>> mean = TermMean(Categorical(ignore_index=9))
    >>> mean.add([torch.tensor(1.0)], torch.tensor([0, 9, 9]))
    >>> mean.add([torch.tensor(4.0)], torch.tensor([1, 0, 9]))
    >>> mean.result()
    [3.0]
    """

    def __init__(self, likelihood: Likelihood) -> None:
        self.likelihood = likelihood
        self.total, self.terms = torch.zeros((), dtype=torch.float64), 0

    def add(self, losses: Sequence[Tensor], y: Tensor) -> None:
        """Take in what each member loses on a batch."""
        terms = int(self.likelihood.terms(y))
        self.total = self.total + terms * torch.stack([*losses]).double().cpu()
        self.terms += terms

    def result(self) -> list[float]:
        """Return each member's mean.

        Raises:
            ValueError: if no target counts.
        """
        if not self.terms:
            raise ValueError(
                "`validation` has no target that counts, expected some: all are to be ignored."
            )
        means: list[float] = (self.total / self.terms).tolist()
        return means
