"""A family of numbers that duda does not have, as the contract of predictions asks for it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor

from duda import NumberPrediction


@dataclass(frozen=True, eq=False, repr=False)
class LogisticPrediction(NumberPrediction):
    """The least that a family is: mean, std and quantiles."""

    mean: Tensor
    std: Tensor
    joint: bool = field(default=False, kw_only=True)

    def quantile(self, q: float) -> Tensor:
        return self.mean + self.scale * math.log(q / (1 - q))

    @property
    def scale(self) -> Tensor:
        return self.std * math.sqrt(3) / math.pi
