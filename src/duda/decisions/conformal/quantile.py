"""Conformal quantiles: thresholds below which a new score lies with a given probability."""

from __future__ import annotations

import math
import reprlib

import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import ArrayLike, check_share, exact_share
from duda.fitted import check_that
from duda.inputs import scores as checked_scores

__all__ = ["check_thresholds", "conformal_quantile", "conformal_rank"]


def conformal_rank(n: int, alpha: float) -> int:
    """Return ⌈(n + 1)(1 - alpha)⌉, with the plain fraction that `alpha` is meant to be.

    >>> conformal_rank(29, alpha=0.7)  # in floating point 30 * (1 - 0.7) is more than 9
    9
    """
    return math.ceil((n + 1) * (1 - exact_share(alpha)))


def check_thresholds(
    thresholds: Float[Tensor, "G"],
    calibration: Int[Tensor, "G"],
    alpha: float,
    lowest: float,
    highest: float = math.inf,
) -> None:
    """Raise a `ValueError` unless thresholds can be conformal quantiles of so many scores."""
    shown = f"`thresholds` are {reprlib.repr(thresholds.tolist())}"
    check_that(len(calibration) == len(thresholds), f"{shown} of {len(calibration)} sets of scores")
    check_that(calibration >= 0, f"`calibration` holds {int(calibration.min())} examples")
    few = torch.tensor([conformal_rank(n, alpha) > n for n in calibration.tolist()])
    between = (thresholds >= lowest) & (thresholds <= highest)
    possible = torch.where(few, thresholds == math.inf, between)
    check_that(possible, f"{shown}, of {reprlib.repr(calibration.tolist())} scores")


def conformal_quantile(scores: ArrayLike, alpha: float) -> float:
    """Return the ⌈(n + 1)(1 - alpha)⌉-th smallest of n scores, or infinity if there are too few.

    A new score that is exchangeable with them is at most that with a probability of at least
    1 - alpha, and of at most 1 - alpha + 1 / (n + 1) if no scores tie.
    Source: Vovk et al. 2005, section 2.2; Lei et al. 2018, section 2.

    Raises:
        ValueError: if there are no scores, or NaN; unless 0 < `alpha` < 1.

    >>> conformal_quantile([0.3, 0.1, 0.2, 0.4], alpha=0.25)
    0.4
    >>> conformal_quantile([0.1, 0.2, 0.3], alpha=0.1)
    inf
    """
    alpha = check_share(alpha, "alpha")
    values = checked_scores(scores, "scores").double().flatten()
    rank = conformal_rank(len(values), alpha)
    return float(values.kthvalue(rank).values) if rank <= len(values) else math.inf
