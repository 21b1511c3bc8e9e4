"""Student t predictions of numbers, with heavy tails: one distribution, or a mixture of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_finite, check_same_shape
from duda.doubts import doubt
from duda.predictions.location_scale import LocationScalePrediction

__all__ = ["StudentTPrediction", "log_gamma_step"]

_LARGE = 30.0  # from where the series is exact to float64


@dataclass(frozen=True, eq=False, repr=False)
class StudentTPrediction(LocationScalePrediction):
    """The mixture of M Student t distributions, by its moments and degrees of freedom.

    A scale s has the variance s² ν / (ν - 2), so that ν must be above 2. Quantiles, densities and
    intervals are those of the t distribution with these moments, and those of the exact mixture
    where the draws were kept. Source: Johnson, Kotz & Balakrishnan 1995, chapter 28.

    Args:
        mean: `(N, D, *positions)`, in units of the target, as all below but for the squares.
        aleatoric: mean over draws of the variances that are noise, shape of `mean`.
        epistemic: the rest of the variance, shape of `mean`; zero by default.
        draws: `(M, N, 3 D, *positions)`, of each draw D means, D variances and D times ν.
        df: ν, degrees of freedom, shape of `mean`; float64, as 2 + 1e-6 must not become 2.
        joint: whether a draw is one function for all examples.

    >>> answer = StudentTPrediction([[0.0]], [[3.0]], df=[[3.0]])  # of scale 1
    >>> answer.quantile(0.975), answer.log_prob([[0.0]])
    (tensor([[3.1824]], dtype=torch.float64), tensor([[-1.0009]], dtype=torch.float64))
    """

    df: Float[Tensor, "N D *positions"] = field(kw_only=True)

    shape_parameters: ClassVar[tuple[str, ...]] = ("df",)

    def __post_init__(self) -> None:
        super().__post_init__()
        df = as_tensor(self.df, "df").double()
        check_same_shape(df, "df", tuple(self.mean.shape), "`mean`")
        check_finite(df, "df")
        for values in [df] if self.draws is None else [df, self.draws.chunk(3, dim=2)[2]]:
            _check_above_two(values)
        object.__setattr__(self, "df", df)

    @staticmethod
    def _standard_cdf(z: Tensor, *shape: Tensor) -> Tensor:
        from scipy.special import stdtr

        [df] = shape
        at = z / _scale(df)
        below = stdtr(df.detach().cpu().numpy(), at.detach().cpu().numpy())
        return torch.as_tensor(below).to(z.device)

    @staticmethod
    def _standard_log_density(z: Tensor, *shape: Tensor) -> Tensor:
        [df] = shape
        scale = _scale(df)
        constant = log_gamma_step(df / 2) - (math.pi * df).log() / 2
        at = (z / scale).square() / df
        return constant - scale.log() - (df + 1) / 2 * at.log1p()

    @staticmethod
    def _standard_quantile(q: Tensor, *shape: Tensor) -> Tensor:
        from scipy.special import stdtrit

        [df] = shape
        found = stdtrit(df.detach().cpu().numpy(), q.cpu().numpy())
        return torch.as_tensor(found).to(df.device) * _scale(df)

    def crps(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        """Return the CRPS at `y`, in units of the target, float64; of mixtures numerically.

        Source: Jordan, Krüger & Lerch 2019, appendix A.
        """
        if self.draws is not None:
            return super().crps(y)
        [mean], [std], [df] = self._parameters()
        scale = std * _scale(df)
        gap = self._target(y) - mean
        z = gap / scale
        at = (z.square() / df).log1p()
        constant = log_gamma_step(df / 2) - (math.pi * df).log() / 2
        density = (constant - (df + 1) / 2 * at).exp()
        below = self._standard_cdf(z * _scale(df), df)
        half = torch.full_like(df, 0.5)
        ratio = (_log_beta(half, df - 0.5) - 2 * _log_beta(half, df / 2)).exp()
        to_point = z * (2 * below - 1) + 2 * density * (df + z.square()) / (df - 1)
        found = scale * (to_point - 2 * df.sqrt() / (df - 1) * ratio)
        return torch.where(scale > 0, found, gap.abs())


def _check_above_two(df: Tensor) -> None:
    """Raise a `ValueError` unless degrees of freedom are above 2."""

    def look() -> None:
        raise ValueError(
            f"`df` holds {float(df.min()):.6g}, expected degrees of freedom above 2, without which "
            "there is no variance."
        )

    doubt(lambda: (df <= 2).any(), look)


def log_gamma_step(alpha: Tensor) -> Tensor:
    """Return log Γ(α + ½) - log Γ(α), for large α by Stirling's series, without large terms.

    >>> log_gamma_step(torch.tensor([0.5, 1e8]))
    tensor([-0.5724,  9.2103])
    """
    small, inverse = alpha.clamp(max=_LARGE), 1 / alpha.clamp(min=_LARGE)
    series = -0.5 * inverse.log() - inverse / 8 + inverse**3 / 192 - inverse**5 / 640
    exact = (small + 0.5).lgamma() - small.lgamma()
    return torch.where(alpha > _LARGE, series, exact)


def _scale(df: Tensor) -> Tensor:
    """Return the scale at which the variance is 1."""
    return ((df - 2) / df).sqrt()


def _log_beta(a: Tensor, b: Tensor) -> Tensor:
    return a.lgamma() + b.lgamma() - (a + b).lgamma()
