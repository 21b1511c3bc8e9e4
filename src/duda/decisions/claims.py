"""What a classifier claims: rows of probabilities, from a prediction or from arrays."""

from __future__ import annotations

from functools import cached_property

from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import ArrayLike
from duda.inputs import class_log_probs, class_probs, hard_labels
from duda.predictions import ClassPrediction

__all__ = ["Claims", "ClassClaims"]

ClassClaims = ClassPrediction | ArrayLike | None  # what may come as `probs`


class Claims:
    """R rows over C classes in float64 on the CPU: a row for each example and position.

    Args:
        probs: a prediction, or probabilities `(N, C, *positions)`.
        logits: in place of `probs`.
    """

    def __init__(self, probs: ClassClaims, logits: ArrayLike | None) -> None:
        if isinstance(probs, ClassPrediction):
            if logits is not None:
                raise TypeError("give either `probs` or `logits=`, not both and not neither.")
            self.given, self.is_log = probs.log_probs.detach().cpu().double(), True
        elif probs is None or logits is not None:
            self.given, self.is_log = class_log_probs(probs, logits), True
        else:
            self.given, self.is_log = class_probs(probs, None).double(), False
        self.shape = tuple(self.given.shape)

    @cached_property
    def probs(self) -> Float[Tensor, "R C"]:
        """Probabilities, bit by bit as they came if they did."""
        rows = self._rows()
        return rows.exp() if self.is_log else rows

    @cached_property
    def log_probs(self) -> Float[Tensor, "R C"]:
        """Their logs in nats, -inf for 0."""
        rows = self._rows()
        return rows if self.is_log else rows.log()

    def labels(self, y: ArrayLike | None) -> Int[Tensor, "R"]:
        """Return the class of each row, from integer labels `(N, *positions)`."""
        return hard_labels(y, self.shape).flatten()

    def restored(self, rows: Float[Tensor, "R C"]) -> Float[Tensor, "N C *positions"]:
        """Return rows in the shape of what was given."""
        examples, classes, *positions = self.shape
        return rows.view(examples, *positions, classes).movedim(-1, 1)

    def check_width(self, classes: int) -> None:
        """Raise a `ValueError` unless there are as many classes as `fit` saw."""
        if self.shape[1] != classes:
            raise ValueError(
                f"the predictions have {self.shape[1]} classes, expected {classes}, as `fit` saw: "
                "give both from the same network."
            )

    def _rows(self) -> Float[Tensor, "R C"]:
        return self.given.movedim(1, -1).reshape(-1, self.shape[1])
