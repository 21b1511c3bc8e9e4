"""Counts: the base of their likelihoods, with rates that are exponentials of what is put out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from duda.checks import check_at_least_0
from duda.devices import exact_device
from duda.likelihoods.drawn import DrawnLikelihood
from duda.likelihoods.support import Support

__all__ = ["CountLikelihood"]

_STEEPEST = 30.0  # e^30 is 10^13, up to which float64 holds all counts


@dataclass(frozen=True)
class CountLikelihood(DrawnLikelihood):
    """What these likelihoods share: whole numbers from 0, which have no other units.

    Means are exponentials, as in generalized linear models (McCullagh & Nelder 1989, section 2.2):
    effects multiply, and an exposure adds its logarithm (`duda.layers.Exposure`).

    Args:
        floor: the least mean.
    """

    floor: float = 1e-6

    support: ClassVar[Support] = "counts"
    has_units: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_0(self.floor, "floor", "mean")

    def means(self, raw: Tensor) -> Tensor:
        """Return exp(raw) + floor; from 30 on its tangent, so that no output is beyond floats."""
        steep = raw.clamp(max=_STEEPEST)
        return steep.exp() * (1 + raw - steep) + self.floor

    def negative_log_likelihood(
        self, outputs: Float[Tensor, "N outputs *positions"], y: Shaped[Tensor, "N D *positions"]
    ) -> Float[Tensor, ""]:
        """Return -log p(y), summed over the D outputs, then averaged; in float64 inside.

        Of large counts the terms are large beside their sum.
        """
        exact = outputs.double() if exact_device(outputs.device) == outputs.device else outputs
        found = super().negative_log_likelihood(exact, y)
        return found.to(torch.promote_types(outputs.dtype, torch.float32))
