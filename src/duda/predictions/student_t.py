"""Student t predictions of numbers, with heavy tails: one distribution, or a mixture of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_finite, check_same_shape
from duda.doubts import doubt
from duda.predictions.by_scipy import by_scipy
from duda.predictions.location_scale import LocationScalePrediction
from duda.predictions.members import MembersPrediction
from duda.predictions.student_distances import log_peak, mixture_crps_of_t

__all__ = ["StudentTPrediction"]

_FEW = 8  # members, whose pairs cost less than the integral


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
        [df] = shape
        return _cdf(z / _scale(df), df)

    @staticmethod
    def _standard_log_density(z: Tensor, *shape: Tensor) -> Tensor:
        [df] = shape
        scale = _scale(df)
        at = (z / scale).square() / df
        found: Tensor = log_peak(df) - scale.log() - (df + 1) / 2 * at.log1p()
        return found

    @staticmethod
    def _standard_quantile(q: Tensor, *shape: Tensor) -> Tensor:
        from scipy.special import stdtrit

        [df] = shape
        return by_scipy(stdtrit, df, q) * _scale(df)

    def crps(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        """Return the CRPS at `y` of the exact mixture, in units of the target, float64."""
        mean, std, df = self._members()
        if len(mean) > _FEW:
            return MembersPrediction.crps(self, y)
        return mixture_crps_of_t((mean, std * _scale(df), df), self._target(y), _cdf)


def _check_above_two(df: Tensor) -> None:
    """Raise a `ValueError` unless degrees of freedom are above 2."""

    def look() -> None:
        raise ValueError(
            f"`df` holds {float(df.min()):.6g}, expected degrees of freedom above 2, without which "
            "there is no variance."
        )

    doubt(lambda: (df <= 2).any(), look)


def _scale(df: Tensor) -> Tensor:
    """Return the scale at which the variance is 1."""
    return ((df - 2) / df).sqrt()


def _cdf(z: Tensor, df: Tensor) -> Tensor:
    from scipy.special import stdtr

    return by_scipy(stdtr, df, z)
