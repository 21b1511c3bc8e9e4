"""Log-normal predictions of numbers above 0, and mixtures of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from duda.predictions.drawn import DrawnPrediction
from duda.predictions.validity import check_positive

__all__ = ["LogNormalPrediction"]


class LogNormalPrediction(DrawnPrediction):
    """The mixture of M log-normal laws: the logarithm of a target is normal in each draw.

    `location` and `scale` are mean and standard deviation of the logarithm. Source: Johnson, Kotz &
    Balakrishnan 1994, chapter 14.

    >>> answer = LogNormalPrediction.of(location=[[0.0]], scale=[[1.0]])
    >>> answer.mean, answer.quantile(0.5)  # exp(1 / 2)
    (tensor([[1.6487]], dtype=torch.float64), tensor([[1.]], dtype=torch.float64))
    """

    parameters: ClassVar[tuple[str, ...]] = ("location", "scale")

    @classmethod
    def check_parameters(cls, *parameters: Tensor) -> None:
        """Raise a `ValueError` unless scales are above 0."""
        check_positive(parameters[1], "scale")

    @classmethod
    def member_moments(cls, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance."""
        location, scale = parameters
        square = scale.square()
        # In logarithms, as one factor of the variance may be 0 where the other is infinite.
        log_variance = 2 * (location + square) + (-square).expm1().neg().log()
        return (location + square / 2).exp(), log_variance.exp()

    @classmethod
    def member_cdf(cls, y: Tensor, *parameters: Tensor) -> Tensor:
        """Return the probability of at most `y`."""
        location, scale = parameters
        below: Tensor = torch.special.ndtr((y.clamp(min=0).log() - location) / scale)
        return below

    @classmethod
    def member_log_prob(cls, y: Tensor, *parameters: Tensor) -> Tensor:
        """Return the log-density at `y`, nats."""
        location, scale = parameters
        log_y = torch.where(y > 0, y, 1.0).log()
        square = ((log_y - location) / scale).square()
        found = -0.5 * square - scale.log() - log_y - 0.5 * math.log(2 * math.pi)
        return torch.where(y > 0, found, -math.inf)

    @classmethod
    def member_quantile(cls, q: Tensor, *parameters: Tensor) -> Tensor:
        """Return the values that have the probabilities `q` below them."""
        location, scale = parameters
        found: Tensor = (location + scale * torch.special.ndtri(q)).exp()
        return found

    @classmethod
    def member_affine(
        cls, factor: Tensor, offset: Tensor, *parameters: Tensor
    ) -> Sequence[Tensor] | None:
        """Return the parameters of `factor * y`; with an offset it is no such law."""
        location, scale = parameters
        return None if bool((offset != 0).any()) else (location + factor.log(), scale)
