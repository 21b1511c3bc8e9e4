"""Negative binomial predictions of counts that vary more than Poisson's, and mixtures of them."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from duda.predictions.by_scipy import by_scipy
from duda.predictions.counts import CountPrediction
from duda.predictions.validity import check_positive

__all__ = ["NegativeBinomialPrediction"]

_LARGE = 30.0  # from where the series is exact to float64


class NegativeBinomialPrediction(CountPrediction):
    """The mixture of M negative binomial laws of counts, each by its `mean` μ and `dispersion` α.

    The variance is μ + α μ² (NB2): Poisson's as α goes to 0. Source: Hilbe 2011, section 8.

    >>> answer = NegativeBinomialPrediction.of(mean=[[2.0]], dispersion=[[0.5]])
    >>> answer.variance, answer.cdf([[0.0]])
    (tensor([[4.]], dtype=torch.float64), tensor([[0.2500]], dtype=torch.float64))
    """

    parameters: ClassVar[tuple[str, ...]] = ("mean", "dispersion")

    @classmethod
    def check_parameters(cls, *parameters: Tensor) -> None:
        """Raise a `ValueError` unless means and dispersions are above 0."""
        for name, value in zip(cls.parameters, parameters, strict=True):
            check_positive(value, name)

    @classmethod
    def member_moments(cls, *parameters: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance."""
        mean, dispersion = parameters
        return mean, mean + dispersion * mean.square()

    @classmethod
    def member_smooth_cdf(cls, y: Tensor, *parameters: Tensor) -> Tensor:
        """Return the probability of at most `y`, by the incomplete beta function."""
        from scipy.special import betainc

        mean, dispersion = parameters
        return by_scipy(betainc, 1 / dispersion, y + 1, 1 / (1 + dispersion * mean))

    @classmethod
    def member_log_mass(cls, y: Tensor, *parameters: Tensor) -> Tensor:
        """Return the log-probability of counts; where α is small no large terms cancel."""
        mean, dispersion = parameters
        size, over = 1 / dispersion, (dispersion * mean).log1p()
        spread = _log_rising(y, size) - (y + size) * over
        found: Tensor = torch.xlogy(y, mean) - torch.lgamma(y + 1) + spread
        return found


def _log_rising(y: Tensor, size: Tensor) -> Tensor:
    """Return log Γ(size + y) - log Γ(size) - y log size: Σ log(1 + i / size) over i < y."""
    large = size.clamp(min=_LARGE)
    smooth = (large + y - 0.5) * (y / large).log1p() - y + _stirling(large + y) - _stirling(large)
    small = size.clamp(max=_LARGE)
    exact = torch.lgamma(small + y) - torch.lgamma(small) - y * small.log()
    return torch.where(size > _LARGE, smooth, exact)


def _stirling(value: Tensor) -> Tensor:
    """Return the series of Stirling: log Γ without its main terms."""
    square = value.square()
    return (1 / 12 - (1 / 360 - 1 / (1260 * square)) / square) / value
