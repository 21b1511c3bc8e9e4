"""Gaussian likelihood with a learned variance: raw outputs are means and scales."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from duda.checks import at_least_float32
from duda.likelihoods.moments import MomentLikelihood

__all__ = ["AnyGaussian", "Gaussian", "minus_log_density"]


class AnyGaussian(MomentLikelihood):
    """Gaussian noise whatever its variance: the loss."""

    def negative_log_likelihood(
        self, outputs: Float[Tensor, "N outputs *positions"], y: Shaped[Tensor, "N D *positions"]
    ) -> Float[Tensor, ""]:
        """Return ½ log σ² + (y - μ)² / 2σ² + ½ log 2π, summed over the D outputs, then averaged."""
        mean, variance = self.moments(at_least_float32(outputs))
        each = minus_log_density(self.beside(y, mean), mean, variance)
        return self.averaged(each, y)


@dataclass(frozen=True)
class Gaussian(AnyGaussian):
    """2 D raw outputs on dimension 1: D means, then D raw scales; variance = softplus(raw) + floor.

    Source of the loss: Nix & Weigend 1994; Kendall & Gal 2017, eq. 5.

    Args:
        floor: the least variance, in squared units of the outputs.

    >>> import torch
    >>> Gaussian().loss(torch.tensor([[0.0, 0.5413]]), torch.tensor([[0.0]]))
    tensor(0.9189)
    """

    floor: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.floor < math.inf:
            raise ValueError(f"`floor` is {self.floor}, expected a variance of at least 0.")

    def width(self, targets: int) -> int:
        """Return 2 D: a mean and a raw scale for each target."""
        return 2 * targets

    def moments(self, outputs: Tensor, dim: int = 1) -> tuple[Tensor, Tensor]:
        """Return mean and variance, each with D entries along `dim`."""
        mean, raw = self.split(outputs, dim, ("means", "raw scales"))
        return mean, F.softplus(raw) + self.floor


def minus_log_density(y: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Return -log N(y | mean, variance) of each number, in nats."""
    square = (y - mean).square()
    return 0.5 * (variance.log() + square / variance + math.log(2 * math.pi))
