"""Numbers with Gaussian noise: raw outputs are means, with or without a learned variance."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from duda.checks import at_least_float32, check_finite, check_not_empty, check_same_shape
from duda.likelihoods.base import Likelihood, Reduction
from duda.predictions import GaussianPrediction

__all__ = ["FixedGaussian", "Gaussian"]


class _AnyGaussian(Likelihood):
    """What the two Gaussians share: all follows from the mean and the variance of the outputs."""

    @abstractmethod
    def moments(self, outputs: Tensor, dim: int = 1) -> tuple[Tensor, Tensor]:
        """Return mean and variance, each with D entries along `dim`."""

    def check_targets(
        self, outputs: Float[Tensor, "N outputs *positions"], y: Shaped[Tensor, "N D *positions"]
    ) -> None:
        """Raise a `ValueError` unless `y` is finite and has the shape of the predicted mean."""
        mean, _ = self.moments(outputs)
        check_not_empty(mean, "y")
        check_same_shape(y, "y", tuple(mean.shape), "the predicted mean")
        check_finite(y, "y")

    def negative_log_likelihood(
        self, outputs: Float[Tensor, "N outputs *positions"], y: Shaped[Tensor, "N D *positions"]
    ) -> Float[Tensor, ""]:
        """Return ½ log σ² + (y - μ)² / 2σ² + ½ log 2π, summed over the D outputs, then averaged."""
        mean, variance = self.moments(at_least_float32(outputs))
        square = (y.to(mean.dtype) - mean).square()
        each = 0.5 * (variance.log() + square / variance + math.log(2 * math.pi))
        return each.sum(1).mean()

    def reduction(self, keep_draws: bool = False) -> Reduction:
        """Return an empty reduction of draws of raw outputs."""
        return _MomentReduction(self, keep_draws)


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
        if outputs.ndim <= dim or outputs.shape[dim] % 2:
            raise ValueError(
                f"the network's outputs have shape {tuple(outputs.shape)}, expected 2 D numbers on "
                f"dimension {dim}: D means, then D raw scales."
            )
        mean, raw = outputs.chunk(2, dim=dim)
        return mean, F.softplus(raw) + self.floor


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


class _MomentReduction(Reduction):
    """Streams the mixture's moments in float64, merging chunks by Chan et al. 1979, eq. 2.1."""

    def __init__(self, likelihood: _AnyGaussian, keep_draws: bool) -> None:
        self.likelihood = likelihood
        self.kept: list[Tensor] | None = [] if keep_draws else None
        self.count = 0

    def add(self, draws: Float[Tensor, "M N outputs *positions"]) -> None:
        self.check_draws(draws)
        means, variances = self.likelihood.moments(at_least_float32(draws), dim=2)
        if self.kept is not None:
            self.kept.append(torch.cat([means, variances], dim=2))
        variance_sum = variances.sum(0, dtype=torch.float64)
        mean = means.mean(0, dtype=torch.float64)
        squares = (means - mean).square().sum(0)
        if self.count == 0:
            self.dtype = means.dtype
            self.mean, self.squares, self.variance_sum = mean, squares, variance_sum
        else:
            total = self.count + len(draws)
            step = mean - self.mean
            self.mean = self.mean + step * (len(draws) / total)
            self.squares = self.squares + squares + step**2 * (self.count * len(draws) / total)
            self.variance_sum = self.variance_sum + variance_sum
        self.count += len(draws)

    def result(self) -> GaussianPrediction:
        if self.count == 0:
            raise ValueError("there are no draws to reduce: `add` at least one.")
        return GaussianPrediction(
            mean=self.mean.to(self.dtype),
            aleatoric=(self.variance_sum / self.count).to(self.dtype),
            epistemic=(self.squares / self.count).to(self.dtype),
            draws=None if self.kept is None else torch.cat(self.kept),
        )
