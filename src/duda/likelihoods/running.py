"""Mean and variance over draws that come some at a time."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["RunningMoments"]


class RunningMoments:
    """Streams mean and variance in float64, merging chunks by Chan et al. 1979, eq. 2.1.

    >>> moments = RunningMoments()
    >>> for chunk in (torch.tensor([1.0]), torch.tensor([2.0, 3.0])):
    ...     moments.add(chunk)
    >>> float(moments.mean), round(float(moments.variance), 4)
    (2.0, 0.6667)
    """

    def __init__(self) -> None:
        self.count = 0

    def add(self, values: Float[Tensor, "M *shape"]) -> None:
        """Take in the values of M more draws."""
        mean = values.mean(0, dtype=torch.float64)
        squares = (values - mean).square().sum(0)
        if self.count == 0:
            self.mean, self._squares = mean, squares
        else:
            total = self.count + len(values)
            step = mean - self.mean
            self.mean = self.mean + step * (len(values) / total)
            self._squares = self._squares + squares + step**2 * (self.count * len(values) / total)
        self.count += len(values)

    @property
    def variance(self) -> Float[Tensor, "*shape"]:
        """The mean squared distance to the mean; 0 for one draw."""
        return self._squares / self.count
