"""Gaussian predictions of numbers: one Gaussian, or a mixture of them."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from duda.predictions.crps import GAUSSIAN, Distances
from duda.predictions.location_scale import LocationScalePrediction

__all__ = ["GaussianPrediction"]


class GaussianPrediction(LocationScalePrediction):
    """The mixture of M Gaussians, by its moments: `variance` = `aleatoric` + `epistemic`.

    `aleatoric` is the mean of the variances and `epistemic` the variance of the means. Quantiles,
    densities and intervals are those of the Gaussian with these moments, and those of the exact
    mixture where the draws were kept. Source: Lakshminarayanan et al. 2017, section 2.4.

    Args:
        mean: `(N, D, *positions)`, in units of the target, as all below but for the squares.
        aleatoric: mean over draws of the variances, shape of `mean`.
        epistemic: variance over draws of the means, shape of `mean`; zero by default.
        draws: `(M, N, 2 D, *positions)`, the D means of each draw, then its D variances.
        joint: whether a draw is one function for all examples.

    >>> answer = GaussianPrediction([[0.0]], [[3.0]], [[1.0]])
    >>> answer.std
    tensor([[2.]], dtype=torch.float64)
    >>> answer.quantile(0.975)
    tensor([[3.9199]], dtype=torch.float64)
    """

    distances: ClassVar[Distances] = GAUSSIAN

    @staticmethod
    def _standard_cdf(z: Tensor, *shape: Tensor) -> Tensor:
        below: Tensor = torch.special.ndtr(z)
        return below

    @staticmethod
    def _standard_log_density(z: Tensor, *shape: Tensor) -> Tensor:
        return -0.5 * z.square() - 0.5 * math.log(2 * math.pi)

    @staticmethod
    def _standard_quantile(q: Tensor, *shape: Tensor) -> Tensor:
        found: Tensor = torch.special.ndtri(q)
        return found
