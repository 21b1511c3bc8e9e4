"""Normal-inverse-gamma likelihood (evidential): numbers whose mean and variance are uncertain."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from duda.checks import as_tensor, at_least_float32
from duda.likelihoods.base import Reduction
from duda.likelihoods.moments import MomentLikelihood, MomentReduction
from duda.predictions.location_scale import LocationScalePrediction
from duda.predictions.student_distances import log_gamma_step
from duda.predictions.student_t import StudentTPrediction

__all__ = ["NormalInverseGamma"]

_FLOOR = 1e-6  # of ν, α - 1 and β, without which moments would be infinite


@dataclass(frozen=True)
class NormalInverseGamma(MomentLikelihood):
    """4 D raw outputs on dimension 1: D means γ, then D each of raw ν, raw α and raw β.

    ν and β are softplus(raw), α is softplus(raw) + 1, each with a floor of 1e-6. Given the outputs
    the target is a Student t with 2α degrees of freedom, mean γ and squared scale β (1 + ν) / να;
    its variance is the aleatoric β / (α - 1) and the epistemic β / ν(α - 1). Of several draws the
    degrees of freedom are their harmonic mean. Source: Amini et al. 2020, eq. 5-10.

    Args:
        penalty: weight of the evidence for a wrong mean, which makes the loss more than -log p.

    >>> import torch
    >>> NormalInverseGamma().reduce(torch.zeros(1, 1, 4)).epistemic
    tensor([[1.4427]])
    """

    penalty: float = 0.01

    prediction: ClassVar[type[LocationScalePrediction]] = StudentTPrediction

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.penalty < math.inf:
            raise ValueError(f"`penalty` is {self.penalty}, expected a weight of at least 0.")

    def width(self, targets: int) -> int:
        """Return 4 D: γ, ν, α and β for each target."""
        return 4 * targets

    def evidence(self, outputs: Tensor, dim: int = 1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return γ, ν, α - 1 and β, each with D entries along `dim`."""
        names = ("means", "raw ν", "raw α", "raw β")
        mean, *raw = self.split(outputs, dim, names)
        nu, excess, beta = (F.softplus(each) + _FLOOR for each in raw)
        return mean, nu, excess, beta

    def moments(self, outputs: Tensor, dim: int = 1) -> tuple[Tensor, Tensor]:
        """Return γ and the aleatoric variance, each with D entries along `dim`."""
        mean, _, excess, beta = self.evidence(outputs, dim)
        return mean, beta / excess

    def negative_log_likelihood(
        self, outputs: Float[Tensor, "N 4*D *positions"], y: Shaped[Tensor, "N D *positions"]
    ) -> Float[Tensor, ""]:
        """Return -log t(y) + penalty |y - γ| (2ν + α), summed over the outputs, then averaged."""
        mean, nu, excess, beta = self.evidence(at_least_float32(outputs))
        alpha = excess + 1
        error = self.beside(y, mean) - mean
        # Sorted so that nothing large cancels, however much evidence there is.
        omega = 2 * beta * (1 + 1 / nu)  # over ν
        each = (
            0.5 * (math.pi * omega).log()
            + (alpha + 0.5) * (error.square() / omega).log1p()
            - log_gamma_step(alpha)
        )
        each = each + self.penalty * error.abs() * (2 * nu + alpha)
        return self.averaged(each, y)

    def reduction(self, keep_draws: bool = False) -> Reduction:
        """Return an empty reduction of draws of raw outputs."""
        return _EvidenceReduction(self, keep_draws)


class _EvidenceReduction(MomentReduction):
    """Streams moments of draws that doubt their own means, and the degrees of freedom."""

    likelihood: NormalInverseGamma
    inverse_df: Tensor | float = 0.0

    def split(self, draws: Tensor) -> tuple[Tensor, ...]:
        """Return each draw's γ, β / (α - 1), and β / ν(α - 1)."""
        mean, nu, excess, beta = self.likelihood.evidence(draws, dim=2)
        variance = beta / excess
        return mean, variance, variance / nu

    def add(self, draws: Float[Tensor, "M N 4*D *positions"]) -> None:
        """Take in M more draws of raw outputs."""
        super().add(draws)
        excess = self.likelihood.evidence(at_least_float32(draws), dim=2)[2]
        df = 2 + 2 * excess.double()
        self.inverse_df = self.inverse_df + (1 / df).sum(0)
        if self.kept is not None:
            # In float64, in which 2 + 1e-6 is not 2.
            self.kept[-1] = torch.cat([self.kept[-1].double(), df], dim=2)

    def result(self) -> StudentTPrediction:
        """Return the mixture of all draws so far."""
        df = self.means.count / as_tensor(self.inverse_df, "df")
        return self.likelihood.in_target_units(StudentTPrediction(**self.moments(), df=df))
