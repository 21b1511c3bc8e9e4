"""Covariances of D numbers, by what a network tells of them: their density, spread and matrix.

All have the numbers on the last dimension, whatever comes before it, and gradients flow through.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from duda.transfer import sent, wide

__all__ = [
    "Cholesky",
    "LowRank",
    "as_covariance",
    "outputs_in",
    "parts_of",
    "said_width",
    "width_for",
]


@dataclass(frozen=True)
class Cholesky:
    """A full covariance: each number regressed on those before it.

    With T = I - slopes the covariance is T⁻¹ S² T⁻ᵀ, so that T⁻¹ S is its Cholesky factor, and its
    inverse needs no solving. Source: Pourahmadi 1999, eq. 3.

    Args:
        scale: S, the standard deviation of each number given those before it.
        slopes: on those, below the diagonal.
    """

    scale: Float[Tensor, "*shape D"]
    slopes: Float[Tensor, "*shape D D"]

    def squared(self, gap: Float[Tensor, "*shape D"]) -> Float[Tensor, "*shape"]:
        """Return the squared Mahalanobis distance."""
        expected = (self.slopes @ gap.unsqueeze(-1)).squeeze(-1)
        return ((gap - expected) / self.scale).square().sum(-1)

    def log_det(self) -> Float[Tensor, "*shape"]:
        """Return the logarithm of the determinant."""
        return 2 * self.scale.log().sum(-1)

    def root(self) -> Float[Tensor, "*shape D D"]:
        """Return the Cholesky factor L; the covariance is L Lᵀ."""
        eye = torch.eye(self.scale.shape[-1], dtype=self.scale.dtype, device=self.scale.device)
        found: Tensor = torch.linalg.solve_triangular(
            eye - self.slopes, self.scale.diag_embed(), upper=False, unitriangular=True
        )
        return found

    def variances(self) -> Float[Tensor, "*shape D"]:
        """Return the diagonal."""
        return self.root().square().sum(-1)

    def matrix(self) -> Float[Tensor, "*shape D D"]:
        """Return the covariance."""
        root = self.root()
        return root @ root.mT

    def noises(self) -> int:
        """Return how many standard normal numbers `spread` needs."""
        return self.scale.shape[-1]

    def spread(self, noise: Float[Tensor, "*shape K"]) -> Float[Tensor, "*shape D"]:
        """Return standard normal numbers as such with this covariance."""
        return (self.root() @ noise.unsqueeze(-1)).squeeze(-1)

    def of_members(self, member: Int[Tensor, "1 *shape"]) -> Cholesky:
        """Return those of members, which are on the first dimension, by their numbers."""
        return Cholesky(*_chosen(member, self.scale, self.slopes))


@dataclass(frozen=True)
class LowRank:
    """A covariance S (I + G Gᵀ) S of noise that each number has by itself, and some in common.

    Args:
        scale: S, the standard deviation of what each number has by itself.
        loadings: G, how the numbers follow `rank` common ones, in units of S.
    """

    scale: Float[Tensor, "*shape D"]
    loadings: Float[Tensor, "*shape D rank"]

    def squared(self, gap: Float[Tensor, "*shape D"]) -> Float[Tensor, "*shape"]:
        """Return the squared Mahalanobis distance.

        It is the least |e - G z|² + |z|² over common numbers z, which loses no digits.
        """
        each = (gap / self.scale).unsqueeze(-1)
        factor = self._inner_factor().to(each)
        common = torch.cholesky_solve(self.loadings.mT @ each, factor)
        return ((each - self.loadings @ common).square().sum(-2) + common.square().sum(-2))[..., 0]

    def log_det(self) -> Float[Tensor, "*shape"]:
        """Return the logarithm of the determinant."""
        inner = self._inner_factor().diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return 2 * (self.scale.log().sum(-1) + inner.to(self.scale))

    def _inner_factor(self) -> Float[Tensor, "*shape rank rank"]:
        """Return the Cholesky factor of I + Gᵀ G in long floats, as its numbers may differ much."""
        loadings = self.loadings.to(wide(self.loadings.device))
        eye = torch.eye(loadings.shape[-1], dtype=loadings.dtype, device=loadings.device)
        found: Tensor = torch.linalg.cholesky(eye + loadings.mT @ loadings)
        return found

    def variances(self) -> Float[Tensor, "*shape D"]:
        """Return the diagonal."""
        return self.scale.square() * (1 + self.loadings.square().sum(-1))

    def matrix(self) -> Float[Tensor, "*shape D D"]:
        """Return the covariance."""
        common = self.scale.unsqueeze(-1) * self.loadings
        return self.scale.square().diag_embed() + common @ common.mT

    def noises(self) -> int:
        """Return how many standard normal numbers `spread` needs."""
        return sum(self.loadings.shape[-2:])

    def spread(self, noise: Float[Tensor, "*shape K"]) -> Float[Tensor, "*shape D"]:
        """Return standard normal numbers as such with this covariance."""
        own, common = noise.tensor_split((self.loadings.shape[-2],), dim=-1)
        found: Tensor = self.scale * (own + (self.loadings @ common.unsqueeze(-1)).squeeze(-1))
        return found

    def of_members(self, member: Int[Tensor, "1 *shape"]) -> LowRank:
        """Return those of members, which are on the first dimension, by their numbers."""
        return LowRank(*_chosen(member, self.scale, self.loadings))


def width_for(outputs: int, rank: int | None) -> int:
    """Return how many numbers tell mean and covariance of D: D, D and D (D - 1) / 2, or D rank.

    >>> width_for(3, None), width_for(3, 2)
    (9, 12)
    """
    return 2 * outputs + (outputs * (outputs - 1) // 2 if rank is None else outputs * rank)


def outputs_in(width: int, rank: int | None) -> int:
    """Return of how many numbers so many tell mean and covariance; 0 if of none.

    >>> outputs_in(9, None), outputs_in(12, 2), outputs_in(10, None)
    (3, 3, 0)
    """
    found = (math.isqrt(9 + 8 * width) - 3) // 2 if rank is None else width // (2 + rank)
    return found if width_for(found, rank) == width else 0


def said_width(rank: int | None) -> str:
    """Return how many numbers tell mean and covariance of D, in words.

    >>> said_width(2)
    'D means, D scales and 2 D loadings'
    """
    rest = "D (D - 1) / 2 slopes" if rank is None else f"{rank} D loadings"
    return f"D means, D scales and {rest}"


def parts_of(values: Tensor, rank: int | None, dim: int) -> tuple[Tensor, ...]:
    """Return means, scales and the rest, which are one after the other along `dim`."""
    count = outputs_in(values.shape[dim], rank)
    return values.tensor_split((count, 2 * count), dim)


def as_covariance(
    scale: Float[Tensor, "*shape D"], rest: Float[Tensor, "*shape K"], rank: int | None
) -> Cholesky | LowRank:
    """Return the covariance; the rest are slopes row by row, or D loadings on each common number.

    >>> as_covariance(torch.ones(2), torch.tensor([3.0]), None).matrix()
    tensor([[ 1.,  3.],
            [ 3., 10.]])
    """
    count = scale.shape[-1]
    if rank is not None:
        return LowRank(scale, rest.reshape(*rest.shape[:-1], rank, count).mT)
    places = sent(_places(count), rest.device)
    return Cholesky(scale, F.pad(rest, (0, 1))[..., places])


def of_matrix(matrix: Float[Tensor, "*shape D D"]) -> tuple[Tensor, Tensor]:
    """Return scales and slopes, row by row, of a covariance.

    Raises:
        ValueError: if it has no Cholesky factor.
    """
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if bool(failed.any()):
        raise ValueError(
            f"`covariance` has {int((failed > 0).sum())} matrices that are not positive definite, "
            "expected none: add a little to their diagonals."
        )
    scale = factor.diagonal(dim1=-2, dim2=-1)
    eye = torch.eye(matrix.shape[-1], dtype=factor.dtype, device=factor.device)
    inverse = torch.linalg.solve_triangular(factor, eye, upper=False)
    rows, columns = torch.tril_indices(len(eye), len(eye), -1)
    return scale, -(scale.unsqueeze(-1) * inverse)[..., rows, columns]


def drawn_from(
    mean: Float[Tensor, "M *shape D"],
    covariance: Cholesky | LowRank,
    count: int,
    generator: torch.Generator | None,
) -> Iterator[Float[Tensor, "*shape D"]]:
    """Yield `count` draws, of each example from one of M members."""
    size = (1, *mean.shape[1:-1])
    for _ in range(count):
        member = torch.randint(len(mean), size, generator=generator).to(mean.device)
        noise = torch.randn((*size, covariance.noises()), generator=generator, dtype=torch.float64)
        spread = covariance.of_members(member).spread(noise.to(mean.device))
        yield (mean.take_along_dim(member.unsqueeze(-1), 0) + spread)[0]


def _chosen(member: Tensor, scale: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    one = member.unsqueeze(-1)
    return scale.take_along_dim(one, 0), rest.take_along_dim(one.unsqueeze(-1), 0)


@functools.cache
def _places(count: int) -> Tensor:
    """Return for each entry of a matrix its place among those below the diagonal, else the last."""
    below = count * (count - 1) // 2
    places = torch.full((count, count), below)
    rows, columns = torch.tril_indices(count, count, -1)
    places[rows, columns] = torch.arange(below)
    return places
