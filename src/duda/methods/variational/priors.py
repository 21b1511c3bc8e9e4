"""Priors of weights: what is known before there are data, and KL divergences from them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import at_least_float32

__all__ = ["GaussianPrior", "Prior", "ScaleMixturePrior"]


class Prior(ABC):
    """A distribution of each weight, independent of the others."""

    @abstractmethod
    def kl_divergence(
        self, mean: Float[Tensor, "*weights"], std: Float[Tensor, "*weights"]
    ) -> Float[Tensor, ""]:
        """Return KL(N(mean, std²) || prior) in nats, the sum over the weights."""


@dataclass(frozen=True)
class GaussianPrior(Prior):
    """N(0, std²).

    Args:
        std: in units of the weights.

    >>> GaussianPrior(std=2.0).kl_divergence(torch.zeros(3), torch.full((3,), 2.0))
    tensor(0.)
    """

    std: float = 1.0

    def __post_init__(self) -> None:
        _check_std(self.std, "std")

    def kl_divergence(
        self, mean: Float[Tensor, "*weights"], std: Float[Tensor, "*weights"]
    ) -> Float[Tensor, ""]:
        """Return Σ log(s / std) + (std² + mean²) / 2s² - ½, in nats, s being the prior's."""
        mean, std = at_least_float32(mean), at_least_float32(std)
        squares = ((std / self.std).square() + (mean / self.std).square() - 1) / 2
        return (squares - (std / self.std).log()).sum()


@dataclass(frozen=True)
class ScaleMixturePrior(Prior):
    """π N(0, std1²) + (1 - π) N(0, std2²): most weights near zero, some far from it.

    Source: Blundell et al. 2015, eq. 7; the defaults are from the ranges of its section 5.1.

    Args:
        pi: the share of the first.
        std1: in units of the weights.
        std2: in units of the weights, for the others.

    >>> kl = ScaleMixturePrior().kl_divergence(torch.zeros(1000), torch.ones(1000))
    >>> 0 < kl < 1000
    tensor(True)
    """

    pi: float = 0.5
    std1: float = 1.0
    std2: float = math.exp(-6)

    def __post_init__(self) -> None:
        if not 0 < self.pi < 1:
            raise ValueError(f"`pi` is {self.pi}, expected a share above 0 and below 1.")
        _check_std(self.std1, "std1")
        _check_std(self.std2, "std2")

    def kl_divergence(
        self, mean: Float[Tensor, "*weights"], std: Float[Tensor, "*weights"]
    ) -> Float[Tensor, ""]:
        """Return an estimate, in nats, from one draw of the weights; its expectation is exact.

        Only E log p(w) is estimated: the entropy of the normal distribution is known.
        """
        mean, std = at_least_float32(mean), at_least_float32(std)
        entropy = (std.log() + 0.5 * math.log(2 * math.pi * math.e)).sum()
        return -entropy - self.log_prob(mean + std * torch.randn_like(std)).sum()

    def log_prob(self, weights: Float[Tensor, "*weights"]) -> Float[Tensor, "*weights"]:
        """Return the logarithm of the density of each weight."""
        return torch.logaddexp(
            _log_normal(weights, self.std1) + math.log(self.pi),
            _log_normal(weights, self.std2) + math.log1p(-self.pi),
        )


def _log_normal(weights: Tensor, std: float) -> Tensor:
    return -0.5 * (weights / std).square() - math.log(std) - 0.5 * math.log(2 * math.pi)


def _check_std(std: float, name: str) -> None:
    if not 0 < std < math.inf:
        raise ValueError(f"`{name}` is {std}, expected a standard deviation above 0.")
