"""Conformal scores of classes (LAC, APS, RAPS): how badly a class fits the probabilities."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import check_at_least_0, check_count, check_flag

__all__ = ["APS", "LAC", "RAPS", "SCORES", "ClassScore"]


class ClassScore(ABC):
    """Gives every class of an example a number, higher for one that fits worse.

    Equally probable classes get equal scores, in whatever order they stand.
    """

    randomized: bool

    @abstractmethod
    def __call__(
        self, probs: Float[Tensor, "N C"], uniform: Float[Tensor, "N"] | None = None
    ) -> Float[Tensor, "N C"]:
        """Return the scores; `uniform` holds a random number in [0, 1) for each example."""


@dataclass(frozen=True)
class LAC(ClassScore):
    """1 - p: the smallest sets on average, and empty where no class is probable enough.

    Source: Sadinle et al. 2019 (least ambiguous set-valued classifier).

    >>> LAC()(torch.tensor([[0.5, 0.25, 0.25]]))
    tensor([[0.5000, 0.7500, 0.7500]])
    """

    randomized = False

    def __call__(self, probs: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Return 1 - p."""
        return 1 - probs


@dataclass(frozen=True)
class APS(ClassScore):
    """The probability of all classes that are at least as probable: larger sets where it is hard.

    Randomised, the class itself and those tied with it count by a share that is drawn for each
    example: sets get smaller, and may be empty. Without, they are far larger than they need be if
    one class is often nearly sure. Source: Romano et al. 2020.

    >>> APS()(torch.tensor([[0.5, 0.25, 0.125, 0.125]]))
    tensor([[0.5000, 0.7500, 1.0000, 1.0000]])
    """

    randomized: bool = True

    def __post_init__(self) -> None:
        check_flag(self.randomized, "randomized")

    def __call__(self, probs: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Return the sum of what is more probable, and all of what ties or a share of it."""
        above, up_to, _ = _sums(probs)
        return _between(above, up_to, uniform)


@dataclass(frozen=True)
class RAPS(ClassScore):
    """APS plus a penalty for each rank beyond `free_ranks`: no long tails of improbable classes.

    Source: Angelopoulos et al. 2021 (λ is `penalty`, k_reg `free_ranks`).

    Args:
        penalty: for each class more, at least 0.
        free_ranks: how many classes come without one.
        randomized: as for `APS`.

    >>> RAPS(penalty=0.5, free_ranks=2)(torch.tensor([[0.5, 0.25, 0.125, 0.125]]))
    tensor([[0.5000, 0.7500, 2.0000, 2.0000]])
    """

    penalty: float = 0.01
    free_ranks: int = 5
    randomized: bool = True

    def __post_init__(self) -> None:
        check_flag(self.randomized, "randomized")
        object.__setattr__(self, "penalty", check_at_least_0(self.penalty, "penalty"))
        object.__setattr__(self, "free_ranks", check_count(self.free_ranks, "free_ranks", least=0))

    def __call__(self, probs: Tensor, uniform: Tensor | None = None) -> Tensor:
        """Return the score of APS, and what the rank adds to it."""
        above, up_to, ranks = _sums(probs)
        beyond = (ranks - self.free_ranks).clamp(min=0).to(probs)
        return _between(above, up_to, uniform) + self.penalty * beyond


SCORES: dict[str, type[ClassScore]] = {"lac": LAC, "aps": APS, "raps": RAPS}


def _between(above: Tensor, up_to: Tensor, uniform: Float[Tensor, "N"] | None) -> Tensor:
    """Return all that there is up to a class, or a share of its own part."""
    return up_to if uniform is None else torch.lerp(above, up_to, uniform.unsqueeze(1))


def _sums(
    probs: Float[Tensor, "N C"],
) -> tuple[Float[Tensor, "N C"], Float[Tensor, "N C"], Int[Tensor, "N C"]]:
    """Return of each class the mass above it, that down to it, and how many classes that is."""
    ascending = probs.sort(1).values
    sums = torch.nn.functional.pad(ascending.flip(1).cumsum(1), (1, 0))
    classes = probs.shape[1]
    more = classes - torch.searchsorted(ascending, probs.contiguous(), right=True)
    ranks = classes - torch.searchsorted(ascending, probs.contiguous())
    return sums.gather(1, more), sums.gather(1, ranks), ranks
