"""Out-of-distribution detectors: fitted to in-distribution data, they score other inputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Self

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from duda.batches import Batch
from duda.checks import ArrayLike
from duda.detectors.features import Positions
from duda.fitted import Fitted
from duda.predictions import ClassPrediction, ScoredClassPrediction
from duda.storage import Format

__all__ = ["Detector"]


class Detector(Fitted, ABC):
    """A score of how far inputs are from those that it was fitted to; higher is further.

    It takes arrays, features or logits of a network; `OnNetwork` takes the inputs themselves.
    Subclasses are dataclasses of options, and of what `fit` learned in fields with `init=False`.

    Attributes:
        needs_labels: whether `fit` cannot do without `y`.
    """

    format = Format("detector")
    needs_labels: ClassVar[bool] = False

    @abstractmethod
    def fit(self, x: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Learn what is in distribution, and return itself."""

    @abstractmethod
    def score(self, x: ArrayLike) -> Float[Tensor, "N *positions"]:
        """Return the score of each example, higher is more out-of-distribution, in float64."""

    @abstractmethod
    def read(
        self,
        network: nn.Module,
        batches: Iterable[Batch],
        layer: str | None,
        positions: Positions | None,
    ) -> Shaped[Tensor, "N *"]:
        """Return what `fit` and `score` take, of the inputs of a network."""

    def __call__(self, x: ArrayLike) -> Float[Tensor, "N *positions"]:
        """Return what `score` returns."""
        return self.score(x)

    def scored(self, answer: ClassPrediction, x: Any) -> ScoredClassPrediction:
        """Return the answer to `x` with this detector's score: for gates and reports.

        Raises:
            ValueError: if there is not one score for each answer.
        """
        return ScoredClassPrediction.from_prediction(answer, self.score(x).to(answer.probs.device))
