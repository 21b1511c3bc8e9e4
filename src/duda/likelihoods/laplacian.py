"""Laplacian likelihood: raw outputs are medians and scales, and outliers weigh less."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from duda.checks import at_least_float32
from duda.likelihoods.moments import MomentLikelihood
from duda.predictions.laplacian import LaplacianPrediction
from duda.predictions.location_scale import LocationScalePrediction

__all__ = ["Laplacian"]


@dataclass(frozen=True)
class Laplacian(MomentLikelihood):
    """2 D raw outputs on dimension 1: D locations, then D raw scales; b = softplus(raw) + floor.

    The density is exp(-|y - μ| / b) / 2b, its variance 2 b². Source: Johnson, Kotz & Balakrishnan
    1995, chapter 24.

    Args:
        floor: the least scale b, in units of the outputs.

    >>> import torch
    >>> Laplacian(floor=0.0).loss(torch.tensor([[0.0, 0.5413]]), torch.tensor([[0.0]]))
    tensor(0.6931)
    """

    floor: float = 1e-3

    prediction: ClassVar[type[LocationScalePrediction]] = LaplacianPrediction

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.floor < math.inf:
            raise ValueError(f"`floor` is {self.floor}, expected a scale of at least 0.")

    def width(self, targets: int) -> int:
        """Return 2 D: a location and a raw scale for each target."""
        return 2 * targets

    def moments(self, outputs: Tensor, dim: int = 1) -> tuple[Tensor, Tensor]:
        """Return mean and variance 2 b², each with D entries along `dim`."""
        location, scale = self._parameters(outputs, dim)
        return location, 2 * scale.square()

    def negative_log_likelihood(
        self, outputs: Float[Tensor, "N outputs *positions"], y: Shaped[Tensor, "N D *positions"]
    ) -> Float[Tensor, ""]:
        """Return log 2b + |y - μ| / b, summed over the D outputs, then averaged."""
        location, scale = self._parameters(at_least_float32(outputs), dim=1)
        each = (2 * scale).log() + (self.beside(y, location) - location).abs() / scale
        return self.averaged(each, y)

    def _parameters(self, outputs: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        location, raw = self.split(outputs, dim, ("locations", "raw scales"))
        return location, F.softplus(raw) + self.floor
