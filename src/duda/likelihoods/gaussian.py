"""Numbers with Gaussian noise: raw outputs are means, with or without a learned variance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from duda.checks import at_least_float32
from duda.likelihoods.moments import MomentLikelihood, split_outputs

__all__ = ["BetaGaussian", "FixedGaussian", "Gaussian"]


class _AnyGaussian(MomentLikelihood):
    """What the Gaussians share: the loss."""

    def negative_log_likelihood(
        self, outputs: Float[Tensor, "N outputs *positions"], y: Shaped[Tensor, "N D *positions"]
    ) -> Float[Tensor, ""]:
        """Return ½ log σ² + (y - μ)² / 2σ² + ½ log 2π, summed over the D outputs, then averaged."""
        mean, variance = self.moments(at_least_float32(outputs))
        return _minus_log_density(y.to(mean.dtype), mean, variance).sum(1).mean()


@dataclass(frozen=True)
class Gaussian(_AnyGaussian):
    """2 D raw outputs on dimension 1: D means, then D raw scales; variance = softplus(raw) + floor.

    Source of the loss: Nix & Weigend 1994; Kendall & Gal 2017, eq. 5.

    Args:
        floor: the least variance, in squared units of the target.

    >>> Gaussian().loss(torch.tensor([[0.0, 0.5413]]), torch.tensor([[0.0]]))
    tensor(0.9189)
    """

    floor: float = 1e-6

    def __post_init__(self) -> None:
        if not 0 <= self.floor < math.inf:
            raise ValueError(f"`floor` is {self.floor}, expected a variance of at least 0.")

    def width(self, targets: int) -> int:
        """Return 2 D: a mean and a raw scale for each target."""
        return 2 * targets

    def moments(self, outputs: Tensor, dim: int = 1) -> tuple[Tensor, Tensor]:
        """Return mean and variance, each with D entries along `dim`."""
        mean, raw = split_outputs(outputs, dim, ("means", "raw scales"))
        return mean, F.softplus(raw) + self.floor


@dataclass(frozen=True)
class BetaGaussian(Gaussian):
    """A `Gaussian` whose loss weighs each term by variance^beta, a weight that gets no gradient.

    The plain loss hardly trains the mean where the variance is large; with `beta` 1 the mean is
    trained as by the squared error, with 0 as by the plain loss. The loss is no -log p, and its
    value is not to be compared with one. Source: Seitzer et al. 2022, section 4.

    Args:
        floor: the least variance, in squared units of the target.
        beta: from 0 to 1.

    >>> BetaGaussian(beta=0.0).loss(torch.tensor([[0.0, 0.5413]]), torch.tensor([[0.0]]))
    tensor(0.9189)
    """

    beta: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.beta <= 1:
            raise ValueError(f"`beta` is {self.beta}, expected a number from 0 to 1.")

    def negative_log_likelihood(
        self, outputs: Float[Tensor, "N outputs *positions"], y: Shaped[Tensor, "N D *positions"]
    ) -> Float[Tensor, ""]:
        """Return the weighted terms, summed over the D outputs, then averaged."""
        mean, variance = self.moments(at_least_float32(outputs))
        each = _minus_log_density(y.to(mean.dtype), mean, variance)
        return (variance.detach() ** self.beta * each).sum(1).mean()


@dataclass(frozen=True)
class FixedGaussian(_AnyGaussian):
    """D raw outputs on dimension 1, the means; the noise has one known standard deviation.

    Args:
        noise_std: standard deviation of the noise, in units of the target.

    >>> FixedGaussian(noise_std=1.0).loss(torch.zeros(1, 1), torch.zeros(1, 1))
    tensor(0.9189)
    """

    noise_std: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.noise_std < math.inf:
            raise ValueError(f"`noise_std` is {self.noise_std}, expected a number above 0.")

    def width(self, targets: int) -> int:
        """Return D: a mean for each target."""
        return targets

    def moments(self, outputs: Tensor, dim: int = 1) -> tuple[Tensor, Tensor]:
        """Return mean and variance, each with D entries along `dim`."""
        if outputs.ndim <= dim:
            raise ValueError(
                f"the network's outputs have shape {tuple(outputs.shape)}, expected D means on "
                f"dimension {dim}: for one output end the network in `nn.Linear(..., 1)`."
            )
        return outputs, torch.full_like(outputs, self.noise_std**2)


def _minus_log_density(y: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    square = (y - mean).square()
    return 0.5 * (variance.log() + square / variance + math.log(2 * math.pi))
