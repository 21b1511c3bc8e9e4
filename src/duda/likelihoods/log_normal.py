"""Log-normal likelihood: numbers above 0, whose logarithm is normal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from duda.checks import check_at_least_0
from duda.likelihoods.drawn import DrawnLikelihood
from duda.likelihoods.gaussian import minus_log_density
from duda.likelihoods.support import Support
from duda.predictions.log_normal import LogNormalPrediction
from duda.predictions.members import MembersPrediction

__all__ = ["LogNormal"]


@dataclass(frozen=True)
class LogNormal(DrawnLikelihood):
    """2 D raw outputs on dimension 1: D locations, then D raw scales, of the target's logarithm.

    A scale is softplus(raw) + floor. Targets are numbers above 0; the units of the outputs, which
    `duda.fit` finds, are mean and standard deviation of their logarithm. Source: Johnson, Kotz &
    Balakrishnan 1994, chapter 14.

    Args:
        floor: the least scale, in units of the outputs.

    >>> LogNormal(floor=0.0).loss(torch.tensor([[0.0, 0.5413]]), torch.tensor([[1.0]]))
    tensor(0.9189)
    """

    floor: float = 1e-3

    prediction: ClassVar[type[MembersPrediction]] = LogNormalPrediction
    names: ClassVar[tuple[str, ...]] = ("locations", "raw scales")
    support: ClassVar[Support] = "positive"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_0(self.floor, "floor", "scale")

    def law(self, *raw: Tensor) -> tuple[Tensor, ...]:
        """Return location and scale."""
        location, scale = raw
        return location, F.softplus(scale) + self.floor

    def learned(self, y: Tensor) -> Tensor:
        """Return the logarithms of targets."""
        return y.log()

    def negative_log_likelihood(
        self, outputs: Float[Tensor, "N 2*D *positions"], y: Shaped[Tensor, "N D *positions"]
    ) -> Float[Tensor, ""]:
        """Return -log N(log y) + log y, summed over the D outputs, then averaged."""
        location, scale = self.parameters(outputs)
        log_y = self.placed(y, tuple(location.shape)).log().to(location)
        each = minus_log_density(self.beside(y, location), location, scale.square()) + log_y
        return self.averaged(each, y)

    def told(self, draws: Float[Tensor, "M N 2*D *positions"]) -> LogNormalPrediction:
        """Return the prediction of locations and scales in the outputs' units."""
        if self.target_scale is None:
            return LogNormalPrediction(draws)
        location, scale = draws.double().chunk(2, dim=2)
        factor, offset = self.target_scale.beside(location, dim=2)
        return LogNormalPrediction(torch.cat([offset + factor * location, factor * scale], dim=2))
