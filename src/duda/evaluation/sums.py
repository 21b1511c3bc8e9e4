"""Sums that do not depend on the order of additions, so that a device may add as it likes."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from jaxtyping import Float, Int, Num, Shaped
from torch import Tensor

__all__ = ["cumulated", "summed_by"]

_BITS = 62  # of a sum in int64


def summed_by(
    index: Int[Tensor, "n"], values: Float[Tensor, "n"], size: int
) -> Float[Tensor, "size"]:
    """Return the sum of the values of each index below `size`.

    >>> summed_by(torch.tensor([0, 2, 0]), torch.tensor([0.25, 0.5, 0.5]), 3)
    tensor([0.7500, 0.0000, 0.5000])
    """
    if index.device.type == "cpu":
        return torch.bincount(index, values, size)
    order = index.to(torch.int32).argsort()
    ends = torch.bincount(index, minlength=size).cumsum(0)
    return _Fixed.of(values[order]).cumulated().between(ends).double()


def cumulated(values: Num[Tensor, "n"]) -> Num[Tensor, "n"]:
    """Return the running sums of values, in int64 or float64.

    >>> cumulated(torch.tensor([True, False, True]))
    tensor([1, 1, 2])
    """
    if not values.is_floating_point():
        return values.cumsum(0)
    if values.device.type == "cpu":
        return values.double().cumsum(0)
    return _Fixed.of(values).cumulated().double()


class _Fixed(NamedTuple):
    """Numbers as whole multiples of a unit, and of a far smaller one: their sums do not round.

    Source: Demmel & Nguyen 2013, "Fast Reproducible Floating-Point Summation", whose
    pre-rounding this is, in integers.
    """

    high: Int[Tensor, "n"]
    low: Int[Tensor, "n"]
    unit: Float[Tensor, ""]
    step: float  # from the unit to the smaller one

    @classmethod
    def of(cls, values: Shaped[Tensor, "n"]) -> Self:
        """Return finite `values`, exact to about 2^-70 of the largest for a million of them."""
        values = values.double()
        bits = _BITS - len(values).bit_length()
        largest = values.abs().amax() if len(values) else values.new_zeros(())
        unit = (largest.frexp().exponent.double() - bits).exp2()
        high = (values / unit).round()
        low = ((values - high * unit) / unit * 2.0**bits).round()
        return cls(high.long(), low.long(), unit, 2.0**-bits)

    def cumulated(self) -> Self:
        """Return the running sums."""
        return self._replace(high=self.high.cumsum(0), low=self.low.cumsum(0))

    def between(self, ends: Int[Tensor, "K"]) -> Self:
        """Return, of running sums, what was added from each end to the next."""
        starts = torch.zeros_like(ends[:1])
        high, low = (
            torch.cat([starts, torch.cat([starts, sums])[ends]]).diff()
            for sums in (self.high, self.low)
        )
        return self._replace(high=high, low=low)

    def double(self) -> Float[Tensor, "n"]:
        """Return them in float64, rounded once."""
        return self.high.double() * self.unit + self.low.double() * self.unit * self.step
