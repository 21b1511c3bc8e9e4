"""Multivariate Gaussian likelihood: several numbers together, with all their covariances."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from duda.checks import at_least_float32, check_at_least_0, check_count
from duda.likelihoods.drawn import DrawnLikelihood
from duda.likelihoods.outputs import outputs_first
from duda.predictions import Prediction
from duda.predictions.covariances import as_covariance, outputs_in, parts_of, said_width, width_for
from duda.predictions.drawn import DrawnPrediction
from duda.predictions.multivariate_gaussian import MultivariateGaussianPrediction

__all__ = ["MultivariateGaussian"]


@dataclass(frozen=True)
class MultivariateGaussian(DrawnLikelihood):
    """Raw outputs on dimension 1: D means, D raw scales, then what tells the covariances.

    Without a rank these are D (D - 1) / 2 slopes of each number on those before it, row by row, and
    a scale, softplus(raw) + floor, is the noise that is left then: with T = I - slopes the Cholesky
    factor of the covariance is T⁻¹ S. With a rank they are `rank` D loadings G, D for each common
    number, and the covariance is S (I + G Gᵀ) S. Sources: Williams 1996; Pourahmadi 1999, eq. 3.

    Args:
        rank: how many numbers all have in common; None for any covariance.
        floor: the least scale, in units of the outputs.

    >>> import torch
    >>> MultivariateGaussian(floor=0.0).loss(torch.tensor([[0.0, 0.5413]]), torch.tensor([[0.0]]))
    tensor(0.9189)
    """

    rank: int | None = None
    floor: float = 1e-3

    prediction: ClassVar[type[DrawnPrediction]] = MultivariateGaussianPrediction
    names: ClassVar[tuple[str, ...]] = ("means", "raw scales")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_0(self.floor, "floor", "scale")
        if self.missing is not None:
            raise ValueError(
                f"`missing` is {self.missing!r}, but numbers that are predicted together have to "
                "be known together: give `duda.Gaussian`, or leave such examples out."
            )
        if self.rank is not None:
            check_count(self.rank, "rank")

    def width(self, targets: int) -> int:
        """Return D + D (D + 1) / 2, or D (2 + rank)."""
        return width_for(targets, self.rank)

    def law(self, *raw: Tensor) -> tuple[Tensor, ...]:
        """Return means, scales, and slopes or loadings."""
        mean, scale, rest = raw
        return mean, F.softplus(scale) + self.floor, rest

    def parameters(self, outputs: Tensor, dim: int = 1) -> tuple[Tensor, ...]:
        """Return means and scales with D entries along `dim`, and slopes or loadings.

        Raises:
            ValueError: if the network put out another number of them.
        """
        outputs = outputs_first(at_least_float32(outputs), self.output_dim, dim)
        if outputs.ndim <= dim or not outputs_in(outputs.shape[dim], self.rank):
            raise ValueError(
                f"the network's outputs have shape {tuple(outputs.shape)}, expected on dimension "
                f"{dim} {said_width(self.rank)}, such as {self.width(2)} for D = 2."
            )
        return self.law(*parts_of(outputs, self.rank, dim))

    def negative_log_likelihood(
        self, outputs: Float[Tensor, "N outputs *positions"], y: Shaped[Tensor, "N D *positions"]
    ) -> Float[Tensor, ""]:
        """Return ½ log det Σ + ½ (y - μ)ᵀ Σ⁻¹ (y - μ) + ½ D log 2π, averaged."""
        mean, scale, rest = self.parameters(outputs)
        gap = (self.beside(y, mean) - mean).movedim(1, -1)
        covariance = as_covariance(scale.movedim(1, -1), rest.movedim(1, -1), self.rank)
        each = (covariance.squared(gap) + covariance.log_det()) / 2
        return each.mean() + gap.shape[-1] / 2 * math.log(2 * math.pi) + self.log_unit()

    def prediction_loss(
        self, prediction: Prediction, y: Shaped[Tensor, "N D *positions"]
    ) -> Float[Tensor, ""]:
        """Return the mean over `terms` of -log p of all D numbers together, nats, unchecked."""
        joint: MultivariateGaussianPrediction = prediction  # type: ignore[assignment] # as it makes
        placed = self.placed(y, (len(y), *joint.said_shape))
        return -joint.joint_log_prob(placed).mean()

    def told(self, draws: Float[Tensor, "M N K *positions"]) -> MultivariateGaussianPrediction:
        """Return the prediction of parameters, in units of the target."""
        return self.in_target_units(MultivariateGaussianPrediction(draws, rank=self.rank))
