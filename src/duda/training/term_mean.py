"""Mean losses over the terms of several batches, of which not all count alike."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from duda.doubts import Doubts
from duda.likelihoods import Likelihood
from duda.transfer import wide

__all__ = ["TermMean"]


class TermMean:
    """Sums up the losses of members, each the mean over the terms of a batch, in float64.

    Args:
        likelihood: says how many terms there are.

    >>> from duda import Categorical
    >>> mean = TermMean(Categorical(ignore_index=9))
    >>> mean.add([torch.tensor(1.0)], torch.tensor([0, 9, 9]))
    >>> mean.add([torch.tensor(4.0)], torch.tensor([1, 0, 9]))
    >>> mean.result(Doubts())
    [3.0]
    """

    def __init__(self, likelihood: Likelihood) -> None:
        self.likelihood = likelihood
        self.total: Tensor | float = 0.0
        self.terms: Tensor | int = 0

    def add(self, losses: Sequence[Tensor], y: Tensor) -> None:
        """Take in what each member loses on a batch; nobody waits for it."""
        terms = self.likelihood.terms(y)
        each = torch.stack([*losses])
        self.total = self.total + terms * each.to(wide(each.device))
        self.terms = self.terms + terms

    def result(self, doubts: Doubts) -> list[float]:
        """Return each member's mean, and settle doubts about the data before.

        Raises:
            ValueError: if no target counts.
        """
        counts = [self.terms] if isinstance(self.terms, Tensor) else []
        read = doubts.settle([*counts, torch.as_tensor(self.total)])
        count = read.pop(0) if counts else float(self.terms)
        if not count:
            raise ValueError(
                "`validation` has no target that counts, expected some: all are to be ignored."
            )
        return [total / count for total in read]
