"""Conformal quantiles: thresholds below which a new score lies with a given probability."""

from __future__ import annotations

import math
from fractions import Fraction

from duda.checks import ArrayLike, check_share
from duda.inputs import scores as checked_scores

__all__ = ["conformal_quantile", "conformal_rank"]


def conformal_rank(n: int, alpha: float) -> int:
    """Return ⌈(n + 1)(1 - alpha)⌉, with the decimal number that `alpha` is written as.

    >>> conformal_rank(29, alpha=0.7)  # in floating point 30 * (1 - 0.7) is more than 9
    9
    """
    return math.ceil((n + 1) * (1 - Fraction(str(float(alpha)))))


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
