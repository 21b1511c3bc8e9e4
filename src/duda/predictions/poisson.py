"""Poisson predictions of counts, and mixtures of them."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from duda.predictions.counts import CountPrediction
from duda.predictions.validity import check_positive

__all__ = ["PoissonPrediction"]


class PoissonPrediction(CountPrediction):
    """The mixture of M Poisson laws of counts, whose mean and variance is the `rate`.

    Source: Johnson, Kemp & Kotz 2005, chapter 4.

    >>> answer = PoissonPrediction.of(rate=[[2.0]])
    >>> answer.log_prob([[0.0]]), answer.quantile(0.95)
    (tensor([[-2.]], dtype=torch.float64), tensor([[5.]], dtype=torch.float64))
    """

    parameters: ClassVar[tuple[str, ...]] = ("rate",)

    @classmethod
    def check_parameters(cls, *parameters: Tensor) -> None:
        """Raise a `ValueError` unless rates are above 0."""
        check_positive(parameters[0], "rate")

    @classmethod
    def member_moments(cls, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance."""
        [rate] = parameters
        return rate, rate

    @classmethod
    def member_smooth_cdf(cls, y: Tensor, *parameters: Tensor) -> Tensor:
        """Return the probability of at most `y`, by the incomplete gamma function."""
        [rate] = parameters
        below: Tensor = torch.special.gammaincc(y + 1, rate)
        return below

    @classmethod
    def member_log_mass(cls, y: Tensor, *parameters: Tensor) -> Tensor:
        """Return the log-probability of counts."""
        [rate] = parameters
        found: Tensor = torch.xlogy(y, rate) - rate - torch.lgamma(y + 1)
        return found
