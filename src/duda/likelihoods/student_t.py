"""Student t likelihood: numbers with outliers, whose tails are learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from duda.checks import check_at_least_0, plain_number
from duda.likelihoods.drawn import DrawnLikelihood
from duda.predictions.members import MembersPrediction
from duda.predictions.student_t import StudentTPrediction

__all__ = ["StudentT"]

_LEAST = 1e-3  # degrees of freedom above 2


@dataclass(frozen=True)
class StudentT(DrawnLikelihood):
    """3 D raw outputs on dimension 1: D locations, then D raw scales, then D raw ν.

    A scale is softplus(raw) + floor, and ν is 2.001 + softplus(raw): with 2 degrees of freedom or
    fewer there is no variance. The prediction is the exact mixture of the draws. Source: Lange,
    Little & Taylor 1989; Johnson, Kotz & Balakrishnan 1995, chapter 28.

    Args:
        df: ν, if it is to be the same for all, above 2: the network then has 2 D raw outputs.
        floor: the least scale, in units of the outputs.

    >>> StudentT(df=3.0, floor=0.0).loss(torch.tensor([[0.0, 0.5413]]), torch.tensor([[0.0]]))
    tensor(1.0009)
    """

    df: float | None = None
    floor: float = 1e-3

    prediction: ClassVar[type[MembersPrediction]] = StudentTPrediction
    names: ClassVar[tuple[str, ...]] = ("locations", "raw scales", "raw ν")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_0(self.floor, "floor", "scale")
        if self.df is not None and not (plain_number(self.df) or 0.0) > 2:
            raise ValueError(
                f"`df` is {self.df!r}, expected degrees of freedom above 2, without which there is "
                "no variance, or None for those that the network puts out."
            )

    @property
    def put_out(self) -> tuple[str, ...]:
        """What the network puts out: not ν where it is given."""
        return self.names if self.df is None else self.names[:2]

    def law(self, *raw: Tensor) -> tuple[Tensor, ...]:
        """Return mean, standard deviation and degrees of freedom."""
        location, scale, *rest = raw
        scale = F.softplus(scale) + self.floor
        if self.df is None:
            excess = F.softplus(rest[0]) + _LEAST
        else:
            excess = torch.full_like(location, self.df - 2)
        return location, scale * ((2 + excess) / excess).sqrt(), 2 + excess

    def told(self, draws: Float[Tensor, "M N 3*D *positions"]) -> StudentTPrediction:
        """Return the mixture of draws of means, standard deviations and ν, of the target."""
        mean, std, df = draws.double().chunk(3, dim=2)
        kept = torch.cat([mean, std.square(), df], dim=2)
        moments = mean.mean(0), std.square().mean(0), mean.var(0, correction=0)
        location, noise, doubt = (each.to(draws.dtype) for each in moments)
        answer = StudentTPrediction(location, noise, doubt, kept, df=1 / (1 / df).mean(0))
        return self.in_target_units(answer)
