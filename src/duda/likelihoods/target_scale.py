"""Target scale: mean and standard deviation of the targets, as units of a network's outputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_finite
from duda.doubts import doubt, doubts_together
from duda.likelihoods.outputs import outputs_first
from duda.likelihoods.running import RunningMoments
from duda.transfer import sent

__all__ = ["TargetScale"]

_ROUNDING = 32 * torch.finfo(torch.float64).eps  # of a mean, which is no spread of the targets


@dataclass(frozen=True, eq=False)
class TargetScale:
    """The mean and standard deviation of each of D targets, from which a network is to learn.

    With it raw outputs mean (y - mean) / std. All is in float64, because a mean may be so large
    beside the noise that float32 has no digits left for this.

    Args:
        mean: a number, or `(D)`, in units of the target.
        std: above 0, likewise.

    >>> TargetScale.of(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))  # of a constant it is 1
    TargetScale(mean=[2.0, 5.0], std=[1.0, 1.0])
    """

    mean: Float[Tensor, "D"]
    std: Float[Tensor, "D"]

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            value = as_tensor(getattr(self, name), name).double()
            check_finite(value, name)
            object.__setattr__(self, name, value if value.ndim else value.reshape(1))
        if self.mean.ndim > 1 or self.mean.shape != self.std.shape:
            self._fail()
        doubt(lambda: ~(self.std > 0).all(), self._fail)

    def _fail(self) -> NoReturn:
        raise ValueError(
            f"`mean` is {self.mean.tolist()} and `std` {self.std.tolist()}, expected a number "
            "for each target, with `std` above 0."
        )

    @classmethod
    def of(
        cls,
        y: ArrayLike | Iterator[Tensor],
        output_dim: int | None = None,
        *,
        missing: bool = False,
    ) -> TargetScale:
        """Return the scale of some targets, over all examples and positions.

        Args:
            y: `(N)` or `(N, D, *positions)`, or an iterator over batches of them, which are read
                once, such as `(y for _, y in loader)`.
            output_dim: -1 where they are `(N, *positions, D)`.
            missing: leave out NaN.

        Raises:
            ValueError: if there are none, or some are not finite.
        """
        moments: list[RunningMoments] = []
        with doubts_together():
            for batch in y if isinstance(y, Iterator) else (as_tensor(y, "y"),):
                if not missing:
                    check_finite(batch, "y", held=batch.nbytes)
                each = outputs_first(batch if batch.ndim > 1 else batch.reshape(-1, 1), output_dim)
                rows = each.double().movedim(1, -1).flatten(0, -2)
                columns = rows.unbind(1) if missing else [rows]  # of which each has its own number
                moments = moments or [RunningMoments() for _ in columns]
                for found, column in zip(moments, columns, strict=True):
                    found.add(column[~column.isnan()].unsqueeze(1) if missing else column)
        if not moments or not all(found.count for found in moments):
            raise ValueError("`y` holds no target, expected at least one.")
        mean = torch.cat([found.mean for found in moments])
        std = torch.cat([found.variance for found in moments]).sqrt()
        return cls(mean, std.where(std > _ROUNDING * mean.abs(), 1.0))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TargetScale):
            return NotImplemented
        return torch.equal(self.mean, other.mean) and torch.equal(self.std, other.std)

    __hash__ = None  # type: ignore[assignment] # which tensors have by identity alone

    def __repr__(self) -> str:
        return f"TargetScale(mean={self.mean.tolist()}, std={self.std.tolist()})"

    def part(self, first: int, last: int) -> TargetScale:
        """Return the scale of some of the targets."""
        found = object.__new__(TargetScale)  # which is checked already, and nobody waits for it
        object.__setattr__(found, "mean", self.mean[first:last])
        object.__setattr__(found, "std", self.std[first:last])
        return found

    def in_units(self, y: Float[Tensor, "N D *positions"]) -> Float[Tensor, "N D *positions"]:
        """Return targets in these units, in float64."""
        factor, offset = self.beside(y)
        return (y - offset) / factor

    def beside(self, values: Tensor, dim: int = 1) -> tuple[Tensor, Tensor]:
        """Return std and mean in the shape that fits values with the D targets on `dim`."""
        shape = (-1, *[1] * (values.ndim - dim - 1))
        std, mean = (sent(each, values.device) for each in (self.std, self.mean))
        return std.view(shape), mean.view(shape)

    def near(self, other: TargetScale) -> bool:
        """Return whether targets of another scale are of the same order in these units."""
        if len(other.std) != len(self.std):
            return False
        ratio, shift = other.std / self.std, (other.mean - self.mean) / self.std
        return bool(((ratio > 0.1) & (ratio < 10) & (shift.abs() < 10)).all())
