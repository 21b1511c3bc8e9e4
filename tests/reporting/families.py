"""Families of one's own, as somebody would write them who knows nothing but the contract."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from duda import NumberPrediction
from duda.checks import ArrayLike, as_tensor

_SCALE = math.sqrt(3) / math.pi  # of a logistic variable with a standard deviation of 1


@dataclass(frozen=True, eq=False, repr=False)
class BarePrediction(NumberPrediction):
    """The least that a family is: two tensors and its quantiles."""

    mean: Tensor
    std: Tensor

    def quantile(self, q: float) -> Tensor:
        return self.mean + self.std * _SCALE * math.log(q / (1 - q))


@dataclass(frozen=True, eq=False, repr=False)
class LogisticPrediction(BarePrediction):
    """The same with all that has a closed form."""

    def cdf(self, y: ArrayLike) -> Tensor:
        return self._z(y).sigmoid()

    def log_prob(self, y: ArrayLike) -> Tensor:
        z = self._z(y)
        return -z - 2 * torch.nn.functional.softplus(-z) - (_SCALE * self.std).log()

    def _z(self, y: ArrayLike) -> Tensor:
        return (as_tensor(y, "y") - self.mean) / (_SCALE * self.std)


def family(
    kind: type[BarePrediction], seed: int, shape: tuple[int, ...] = (60, 1)
) -> BarePrediction:
    random = torch.Generator().manual_seed(seed)
    mean, std = torch.rand(2, *shape, generator=random, dtype=torch.float64)
    return kind(mean, 0.2 + std)
