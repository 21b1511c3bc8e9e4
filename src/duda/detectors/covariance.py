"""Shrunk covariances (Ledoit-Wolf) of features, so that they can be inverted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import plain_number
from duda.fitted import check_that

__all__ = ["Scatter", "Shrinkage", "check_factors", "check_shrinkage", "whitened"]

Shrinkage = float | Literal["ledoit-wolf"]


@dataclass(frozen=True, eq=False)
class Scatter:
    """Sums over N residuals r about their mean; two add up to those about a mean for each part.

    Args:
        products: Σ r rᵀ, `(D, D)`, float64.
        fourth: Σ ‖r‖⁴.
        count: N.
    """

    products: Float[Tensor, "D D"]
    fourth: float
    count: int

    @classmethod
    def of(cls, residuals: Float[Tensor, "N D"]) -> Scatter:
        """Return the sums over `residuals`."""
        fourth = float(residuals.square().sum(1).square().sum())
        return cls(residuals.T @ residuals, fourth, len(residuals))

    def __add__(self, other: Scatter) -> Scatter:
        return Scatter(
            self.products + other.products, self.fourth + other.fourth, self.count + other.count
        )

    def ledoit_wolf(self) -> float:
        """Return the share of shrinkage with the least expected squared error, in [0, 1].

        Source: Ledoit & Wolf 2004, section 3, with its sums in closed form.
        """
        covariance = self.products / self.count
        size = len(covariance)
        square = float(covariance.square().sum())
        spread = square - size * self._mean_variance() ** 2
        noise = (self.fourth / self.count - square) / self.count
        return min(1.0, noise / spread) if spread > 0 else 1.0

    def factor(self, shrinkage: Shrinkage, of: str) -> Float[Tensor, "D D"]:
        """Return the lower Cholesky factor of the shrunk covariance, its sums divided by N.

        (1 − s) covariance + s (mean variance) identity, for the share s of `shrinkage`.

        Raises:
            ValueError: if that is singular, with `of` to say whose it is.
        """
        share = self.ledoit_wolf() if shrinkage == "ledoit-wolf" else float(shrinkage)
        covariance = (1 - share) * self.products / self.count
        covariance.diagonal().add_(share * self._mean_variance())
        factor: Tensor
        factor, info = torch.linalg.cholesky_ex(covariance)
        # What remains of each variance when the features before it are known: with none left, the
        # inverse is made of rounding errors, even where the factor exists.
        left = factor.diagonal().square() / covariance.diagonal()
        rounding = len(covariance) * torch.finfo(torch.float64).eps
        if int(info) or not bool((left > rounding).all()):
            raise ValueError(
                f"`features` have a singular covariance {of} ({len(covariance)} features, "
                f"{self.count} examples, shrinkage {share:.3g}): raise `shrinkage`, or leave out "
                "features that are constant or follow from others."
            )
        return factor

    def _mean_variance(self) -> float:
        return float(self.products.trace()) / (self.count * len(self.products))


def whitened(rows: Float[Tensor, "N D"], factor: Float[Tensor, "D D"]) -> Float[Tensor, "N D"]:
    """Return rows whose squared lengths are those of `rows` by the inverse covariance."""
    solved: Tensor = torch.linalg.solve_triangular(factor.T, rows, upper=True, left=False)
    return solved


def check_factors(factors: Float[Tensor, "*C D D"]) -> None:
    """Raise a `ValueError` unless these are Cholesky factors of covariances."""
    check_that(factors.triu(1) == 0, "factor of a covariance is not lower triangular")
    check_that(
        factors.diagonal(dim1=-2, dim2=-1) > 0, "factor of a covariance is singular or negative"
    )


def check_shrinkage(shrinkage: Shrinkage) -> Shrinkage:
    """Return `shrinkage` if it is a share or the name of a rule, else raise a `ValueError`."""
    if isinstance(shrinkage, str) and shrinkage == "ledoit-wolf":
        return "ledoit-wolf"
    share = plain_number(shrinkage)
    if share is None or not 0 <= share <= 1:
        raise ValueError(f"`shrinkage` is {shrinkage!r}, expected a share or 'ledoit-wolf'.")
    return share
