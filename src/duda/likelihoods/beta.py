"""Beta likelihood: shares between 0 and 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from duda.checks import check_at_least_0
from duda.likelihoods.drawn import DrawnLikelihood
from duda.likelihoods.support import Support
from duda.predictions.beta import BetaPrediction
from duda.predictions.members import MembersPrediction

__all__ = ["Beta"]


@dataclass(frozen=True)
class Beta(DrawnLikelihood):
    """2 D raw outputs on dimension 1: D logits of shares, then D raw precisions.

    With the precision φ = softplus(raw) the parameters are α = φ sigmoid(logit) + floor, and β =
    φ sigmoid(-logit) + floor: but for the floor the mean is sigmoid(logit). Source: Ferrari &
    Cribari-Neto 2004, eq. 4.

    Args:
        floor: the least α and β.

    >>> import torch
    >>> Beta(floor=0.0).loss(torch.tensor([[0.0, 3.9815]]), torch.tensor([[0.5]]))  # α = β = 2
    tensor(-0.4055)
    """

    floor: float = 1e-2

    prediction: ClassVar[type[MembersPrediction]] = BetaPrediction
    names: ClassVar[tuple[str, ...]] = ("logits of shares", "raw precisions")
    support: ClassVar[Support] = "shares"
    has_units: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_0(self.floor, "floor", "number")

    def law(self, *raw: Tensor) -> tuple[Tensor, ...]:
        """Return α and β."""
        logit, precision = raw
        total = F.softplus(precision)
        return total * logit.sigmoid() + self.floor, total * (-logit).sigmoid() + self.floor
