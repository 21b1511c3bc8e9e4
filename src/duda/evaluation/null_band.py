"""Null distribution of calibration errors: what chance does where all confidences are true."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import check_count, check_share
from duda.evaluation.bins import Reduction, reduced
from duda.shown import Shown

__all__ = ["NullBand", "null_band"]

_ROUNDING = 1e-12  # between equal errors, of which there are many in a small sample


@dataclass(frozen=True, eq=False, repr=False)
class NullBand(Shown):
    """Calibration errors that perfectly calibrated models of the same size showed.

    Args:
        level: the share of such models inside the band.
        observed: the model's own error, by default its ECE.
        eces: `(R)`, that of each repeat, ascending, float64.
        lower: `(*C, B)`, accuracies of a bin lie from here, in the central share of repeats...
        upper: `(*C, B)`, ...up to here; NaN where the bin is empty.
    """

    headline = ("limit",)

    level: float
    observed: float
    eces: Float[Tensor, "R"]
    lower: Float[Tensor, "*C B"]
    upper: Float[Tensor, "*C B"]

    @property
    def mean(self) -> float:
        """The error to expect from a model with nothing wrong."""
        return float(self.eces.mean())

    @property
    def limit(self) -> float:
        """The error that models with nothing wrong stay below with probability `level`."""
        return float(torch.quantile(self.eces, self.level))

    @property
    def p_value(self) -> float:
        """Chance that a model with nothing wrong shows at least the observed error.

        It counts the observed model as one of them, so that it is never 0.
        """
        as_large = int((self.eces >= self.observed - _ROUNDING).sum())
        return (1 + as_large) / (1 + len(self.eces))


def null_band(
    counts: Int[Tensor, "*C B"],
    confidence_sums: Float[Tensor, "*C B"],
    null_variances: Float[Tensor, "*C B"],
    observed: float,
    reduction: Reduction,
    *,
    level: float,
    repeats: int,
    seed: int,
) -> NullBand:
    """Draw how many examples of each bin are right, were every confidence true.

    The number is binomial where confidences in a bin are equal. Else it is drawn from the binomial
    with their mean, whose deviations are then scaled to the true variance, the sum of p (1 - p).
    """
    level = check_share(level, "level")
    repeats = check_count(repeats, "repeats")
    confidence = (confidence_sums / counts).nan_to_num(0).clamp(0, 1)  # float16 may exceed one
    widest = counts * confidence * (1 - confidence)
    scale = torch.where(widest > 0, null_variances / widest, 0.0).clamp(0, 1).sqrt()
    trials = counts.double().expand(repeats, *counts.shape).contiguous()
    generator = torch.Generator().manual_seed(seed)
    right = torch.binomial(trials, confidence.expand_as(trials).contiguous(), generator=generator)
    surplus = (right - counts * confidence) * scale
    errors = reduced(surplus, counts, reduction).reshape(repeats, -1).mean(1)
    accuracies = confidence + surplus / counts
    tails = ((1 - level) / 2, (1 + level) / 2)
    lower, upper = torch.from_numpy(np.quantile(accuracies.numpy(), tails, axis=0))
    return NullBand(level, observed, errors.sort().values, lower, upper)
