"""Energy score: minus the log-sum-exp of logits, which sees what softmax forgets."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, plain_number
from duda.detectors.logit_detector import LogitDetector, checked_logits

__all__ = ["Energy", "energy"]


@dataclass(eq=False, kw_only=True)
class Energy(LogitDetector):
    """The energy −T log Σ exp(logit / T) of logits `(N, C, *positions)`: nothing is fitted.

    Source: Liu et al. 2020.

    Args:
        temperature: T, above 0.

    >>> Energy(temperature=2.0).score([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    tensor([-4.3605, -2.1972], dtype=torch.float64)
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        self.temperature = _checked(self.temperature)

    def score(self, x: ArrayLike) -> Float[Tensor, "N *positions"]:
        """Return the energy of logits, see `energy`."""
        return energy(x, temperature=self.temperature)


def energy(logits: ArrayLike, *, temperature: float = 1.0) -> Float[Tensor, "N *positions"]:
    """Return the energy −T log Σ exp(logit / T) of logits `(N, C, *positions)`.

    What all logits share, which softmax forgets, counts. Source: Liu et al. 2020.

    Raises:
        ValueError: if `temperature` is not above 0, or `logits` hold NaN or no classes.

    >>> energy([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]], temperature=2.0)
    tensor([-4.3605, -2.1972], dtype=torch.float64)
    """
    temperature = _checked(temperature)
    return -temperature * (checked_logits(logits) / temperature).logsumexp(1)


def _checked(temperature: float) -> float:
    number = plain_number(temperature)
    if number is None or not 0 < number < math.inf:
        raise ValueError(f"`temperature` is {temperature!r}, expected a finite number above 0.")
    return number
