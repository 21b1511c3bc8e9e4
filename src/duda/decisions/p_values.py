"""Conformal p-values of being in distribution, and Benjamini-Hochberg for many at once."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from duda.checks import ArrayLike, check_share
from duda.inputs import scores
from duda.predictions.given import ScoresGiven, scored

__all__ = ["benjamini_hochberg", "conformal_p_values"]


def conformal_p_values(score: ScoresGiven, calibration: ScoresGiven) -> Float[Tensor, "*shape"]:
    """Return (1 + the number of calibration scores of at least this one) / (n + 1), for each score.

    If an example and those of the calibration are exchangeable, its p-value is at most u with
    probability at most u. Of equal scores none is smaller. The least p-value is 1 / (n + 1).

    Args:
        score: `(*shape)`, of new examples, higher is stranger; infinite values may pass. Or their
            prediction, which has scores.
        calibration: n scores of examples that are in distribution, or their prediction.

    Raises:
        ValueError: if one is empty or holds NaN.

    Source: Vovk et al. 2005, section 2.2; Bates et al. 2023.

    >>> conformal_p_values([0.5, 9.0], [0.1, 0.4, 0.6, 0.8])
    tensor([0.6000, 0.2000], dtype=torch.float64)
    """
    values = scored(score)
    known = scored(calibration, "calibration").flatten().to(values.device).sort().values
    at_least = len(known) - torch.searchsorted(known, values)
    return (1 + at_least).double() / (len(known) + 1)


def benjamini_hochberg(p_values: ArrayLike, level: float) -> Bool[Tensor, "*shape"]:
    """Return which of many hypotheses to reject, so that few of the rejections are false.

    The expected share of false ones among the rejected is at most `level`, if the p-values of true
    hypotheses are independent or depend positively on each other (PRDS), as conformal p-values
    from one calibration set do (Bates et al. 2023).

    Raises:
        ValueError: if `p_values` are not in [0, 1], or `level` not between 0 and 1.

    Source: Benjamini & Hochberg 1995.

    >>> benjamini_hochberg([0.01, 0.9, 0.02, 0.3], level=0.05)
    tensor([ True, False,  True, False])
    """
    level = check_share(level, "level")
    values = scores(p_values, "p_values").double()
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise ValueError(f"`p_values` lies in [{low:.4g}, {high:.4g}], expected [0, 1].")
    ordered = values.flatten().sort().values
    ranks = torch.arange(1, len(ordered) + 1, dtype=torch.float64, device=ordered.device)
    below = ordered * (len(ordered) / ranks) <= level
    limit = ordered[below.nonzero().max()] if bool(below.any()) else -1.0
    return values <= limit
