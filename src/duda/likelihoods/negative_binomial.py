"""Negative binomial likelihood: counts that vary more than their mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from duda.likelihoods.counts import CountLikelihood
from duda.predictions.members import MembersPrediction
from duda.predictions.negative_binomial import NegativeBinomialPrediction

__all__ = ["NegativeBinomial"]

_LEAST = 1e-6  # dispersion, where the law is Poisson's


@dataclass(frozen=True)
class NegativeBinomial(CountLikelihood):
    """2 D raw outputs on dimension 1: D logarithms of means μ, then D raw dispersions α.

    μ is exp(raw) + floor and α is softplus(raw) + 1e-6; the variance is μ + α μ² (NB2).
    Source: Hilbe 2011, section 8.

    Args:
        floor: the least mean.

    >>> import torch
    >>> NegativeBinomial().loss(torch.tensor([[0.0, -20.0]]), torch.tensor([[1.0]]))  # Poisson's
    tensor(1.0000)
    """

    prediction: ClassVar[type[MembersPrediction]] = NegativeBinomialPrediction
    names: ClassVar[tuple[str, ...]] = ("log means", "raw dispersions")

    def law(self, *raw: Tensor) -> tuple[Tensor, ...]:
        """Return mean and dispersion."""
        mean, dispersion = raw
        return self.means(mean), F.softplus(dispersion) + _LEAST
