"""Poisson likelihood: counts whose variance is their mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from duda.likelihoods.counts import CountLikelihood
from duda.predictions.members import MembersPrediction
from duda.predictions.poisson import PoissonPrediction

__all__ = ["Poisson"]


@dataclass(frozen=True)
class Poisson(CountLikelihood):
    """D raw outputs on dimension 1: logarithms of the rates of counts.

    A rate is exp(raw) + floor. Source: Johnson, Kemp & Kotz 2005, chapter 4.

    Args:
        floor: the least rate.

    >>> import torch
    >>> Poisson(floor=0.0).loss(torch.tensor([[0.0]]), torch.tensor([[1.0]]))
    tensor(1.)
    """

    prediction: ClassVar[type[MembersPrediction]] = PoissonPrediction
    names: ClassVar[tuple[str, ...]] = ("log rates",)

    def law(self, *raw: Tensor) -> tuple[Tensor, ...]:
        """Return the rate."""
        return (self.means(raw[0]),)
