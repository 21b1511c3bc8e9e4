"""Laplacian predictions of numbers, with heavier tails: one distribution, or a mixture of them."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from duda.predictions.crps import LAPLACIAN, Distances
from duda.predictions.location_scale import LocationScalePrediction

__all__ = ["LaplacianPrediction"]


class LaplacianPrediction(LocationScalePrediction):
    """The mixture of M Laplace distributions, by its moments: a scale b is a variance of 2 b².

    Quantiles, densities and intervals are those of the Laplace distribution with these moments,
    and those of the exact mixture where the draws were kept.

    Args:
        mean: `(N, D, *positions)`, in units of the target, as all below but for the squares.
        aleatoric: mean over draws of the variances, shape of `mean`.
        epistemic: variance over draws of the means, shape of `mean`; zero by default.
        draws: `(M, N, 2 D, *positions)`, the D means of each draw, then its D variances.
        joint: whether a draw is one function for all examples.

    >>> answer = LaplacianPrediction([[0.0]], [[2.0]])
    >>> answer.log_prob([[1.0]])  # - log 2 - 1
    tensor([[-1.6931]], dtype=torch.float64)
    """

    distances: ClassVar[Distances] = LAPLACIAN

    @staticmethod
    def _standard_cdf(z: Tensor, *shape: Tensor) -> Tensor:
        tail = (-math.sqrt(2) * z.abs()).exp() / 2
        return torch.where(z < 0, tail, 1 - tail)

    @staticmethod
    def _standard_log_density(z: Tensor, *shape: Tensor) -> Tensor:
        return -math.sqrt(2) * z.abs() - math.log(2) / 2

    @staticmethod
    def _standard_quantile(q: Tensor, *shape: Tensor) -> Tensor:
        far = (2 * torch.minimum(q, 1 - q)).log() / math.sqrt(2)
        return torch.where(q < 0.5, far, -far)
