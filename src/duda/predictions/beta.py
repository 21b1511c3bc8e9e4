"""Beta predictions of shares between 0 and 1, and mixtures of them."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from duda.predictions.by_scipy import by_scipy
from duda.predictions.drawn import DrawnPrediction
from duda.predictions.validity import check_positive

__all__ = ["BetaPrediction"]


class BetaPrediction(DrawnPrediction):
    """The mixture of M beta laws of shares, by their parameters `alpha` and `beta`.

    Source: Johnson, Kotz & Balakrishnan 1995, chapter 25.

    >>> answer = BetaPrediction.of(alpha=[[2.0]], beta=[[2.0]])
    >>> answer.mean, answer.variance
    (tensor([[0.5000]], dtype=torch.float64), tensor([[0.0500]], dtype=torch.float64))
    """

    parameters: ClassVar[tuple[str, ...]] = ("alpha", "beta")

    @classmethod
    def check_parameters(cls, *parameters: Tensor) -> None:
        """Raise a `ValueError` unless both are above 0."""
        for name, value in zip(cls.parameters, parameters, strict=True):
            check_positive(value, name)

    @classmethod
    def member_moments(cls, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance."""
        alpha, beta = parameters
        total = alpha + beta
        return alpha / total, alpha / total * (beta / total) / (total + 1)

    @classmethod
    def member_cdf(cls, y: Tensor, *parameters: Tensor) -> Tensor:
        """Return the probability of at most `y`."""
        from scipy.special import betainc

        return by_scipy(betainc, *parameters, y.clamp(0, 1))

    @classmethod
    def member_log_prob(cls, y: Tensor, *parameters: Tensor) -> Tensor:
        """Return the log-density at `y`, nats; minus infinity outside of 0 to 1."""
        alpha, beta = parameters
        inside = (y >= 0) & (y <= 1)
        share = torch.where(inside, y, 0.5)
        scale = torch.lgamma(alpha + beta) - torch.lgamma(alpha) - torch.lgamma(beta)
        found = torch.xlogy(alpha - 1, share) + torch.special.xlog1py(beta - 1, -share) + scale
        return torch.where(inside, found, -math.inf)

    @classmethod
    def member_quantile(cls, q: Tensor, *parameters: Tensor) -> Tensor:
        """Return the values that have the probabilities `q` below them."""
        from scipy.special import betaincinv

        return by_scipy(betaincinv, *parameters, q)
