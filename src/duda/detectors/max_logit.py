"""Max-logit score: minus the largest logit."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike
from duda.detectors.logit_detector import LogitDetector, checked_logits

__all__ = ["MaxLogit", "max_logit"]


@dataclass(eq=False, kw_only=True)
class MaxLogit(LogitDetector):
    """Minus the largest of logits `(N, C, *positions)`: nothing is fitted.

    Source: Hendrycks et al. 2022.

    >>> MaxLogit().score([[1.0, 2.0, 3.0]])
    tensor([-3.], dtype=torch.float64)
    """

    def score(self, x: ArrayLike) -> Float[Tensor, "N *positions"]:
        """Return minus the largest logit, see `max_logit`."""
        return max_logit(x)


def max_logit(logits: ArrayLike) -> Float[Tensor, "N *positions"]:
    """Return minus the largest of logits `(N, C, *positions)` (Hendrycks et al. 2022).

    Raises:
        ValueError: if `logits` hold NaN or no classes.

    >>> max_logit([[1.0, 2.0, 3.0]])
    tensor([-3.], dtype=torch.float64)
    """
    return -checked_logits(logits).amax(1)
