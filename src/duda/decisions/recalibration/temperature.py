"""Temperature scaling: one number that makes all probabilities softer or sharper."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.decisions.claims import Claims
from duda.decisions.recalibration.base import ClassRecalibration
from duda.fitted import check_that

__all__ = ["Temperature"]

_LOWEST, _HIGHEST = 0.01, 100.0


@dataclass(eq=False)
class Temperature(ClassRecalibration):
    """Divides logits by the temperature that minimises the negative log-likelihood.

    The order of classes never changes. The minimum is exact, as the likelihood is concave in the
    inverse temperature, and is sought from 0.01 to 100: a warning says when it lies at an end, as
    when all held-out labels are predicted right, or all wrong. It is never negative.
    Source: Guo et al. 2017, section 4.2.

    Attributes:
        temperature: above 1 the model was too sure.

    >>> logits = [[2.0, 0.0], [3.0, 0.0], [0.0, 4.0], [5.0, 0.0]]
    >>> scaling = Temperature().fit(logits=logits, y=[0, 1, 1, 0])
    >>> scaling(logits=[[2.0, 0.0]])
    tensor([[0.6667, 0.3333]], dtype=torch.float64)
    """

    temperature: float = field(init=False, repr=False)

    def check_learned(self) -> None:
        """Raise a `ValueError` unless the temperature is above 0 and finite."""
        super().check_learned()
        check_that(
            self.temperature > 0, f"`temperature` is {self.temperature}, expected it above 0"
        )

    def _learn(self, claims: Claims, labels: Int[Tensor, "R"]) -> None:
        log_probs = claims.log_probs
        impossible = int(log_probs.gather(1, labels.unsqueeze(1)).isneginf().sum())
        if impossible:
            remedy = "give labels that are possible" if claims.is_log else claims.remedy
            raise ValueError(
                f"{claims.name} gives {impossible} of {len(labels)} labels the probability 0, "
                f"which no temperature changes: {remedy}."
            )
        # Any finite number will do for -inf, whose probability stays 0; but 0 * inf is NaN.
        gaps = (log_probs - log_probs.amax(1, keepdim=True)).clamp(min=torch.finfo().min)
        self.temperature = _best_temperature(gaps, labels)

    def _map(self, claims: Claims) -> Float[Tensor, "R C"]:
        return (claims.log_probs / self.temperature).log_softmax(1)


def _best_temperature(gaps: Float[Tensor, "R C"], labels: Int[Tensor, "R"]) -> float:
    """Return the temperature for logits that are 0 for the first class of each row."""
    from scipy.optimize import brentq

    own = gaps.gather(1, labels.unsqueeze(1)).mean()

    def slope(log_temperature: float) -> float:
        """Return the derivative of the mean loss by the inverse temperature: it only rises."""
        probs = (gaps * math.exp(-log_temperature)).softmax(1)
        return float((probs * gaps).sum(1).mean() - own)

    coldest, hottest = math.log(_LOWEST), math.log(_HIGHEST)
    if not bool(gaps.any()):
        _warn("every row is uniform, so that all temperatures are alike: it is 1")
        return 1.0
    if slope(coldest) <= 0:
        _warn(f"the labels are best at the lowest allowed, {_LOWEST}: (almost) all are right")
        return _LOWEST
    if slope(hottest) >= 0:
        _warn(f"the labels are best at the highest allowed, {_HIGHEST}: no better than chance")
        return _HIGHEST
    return math.exp(brentq(slope, coldest, hottest, xtol=1e-12))


def _warn(why: str) -> None:
    warnings.warn(f"no temperature was found, {why}; use more held-out examples.", stacklevel=5)
