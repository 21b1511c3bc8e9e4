"""Class predictions with a score of their own, such as a distance, in place of the entropy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Self

from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, at_least_float32, check_same_shape
from duda.predictions.classes import ClassPrediction
from duda.predictions.validity import check_no_nan

__all__ = ["ScoredClassPrediction"]


@dataclass(frozen=True, eq=False, repr=False)
class ScoredClassPrediction(ClassPrediction):
    """A `ClassPrediction` whose `score` is not the entropy but a number of the method's own.

    Args:
        own_score: uncertainty in the method's units, `(N, *positions)`, higher is worse; the other
            arguments are those of a `ClassPrediction`.

    >>> answer = ClassPrediction.from_probs([[0.5, 0.5], [1.0, 0.0]])
    >>> ScoredClassPrediction.from_prediction(answer, [0.0, 3.0]).score
    tensor([0., 3.], dtype=torch.float64)
    """

    own_score: Float[Tensor, "N *positions"] = field(kw_only=True)

    score_name: ClassVar[str] = "score"
    score_unit = ""
    score_meaning = "the method's own score, on a scale of its own; higher is less sure"

    def __post_init__(self) -> None:
        super().__post_init__()
        score = at_least_float32(as_tensor(self.own_score, "own_score"))
        each = (len(self.log_probs), *self.log_probs.shape[2:])
        check_same_shape(score, "own_score", each, "`log_probs` without its classes")
        check_no_nan(score, "own_score")
        object.__setattr__(self, "own_score", score)

    @classmethod
    def from_prediction(cls, prediction: ClassPrediction, own_score: ArrayLike) -> Self:
        """Return `prediction` with a score of its own; infinite ones may pass.

        Raises:
            ValueError: if `own_score` is not `(N, *positions)`, or holds NaN.
        """
        return cls(
            prediction.log_probs,
            prediction.aleatoric,
            prediction.votes,
            prediction.draws,
            own_score=own_score,  # type: ignore[arg-type] # made a tensor when checked
            joint=prediction.joint,
            classes=prediction.classes,
        )

    @property
    def score(self) -> Float[Tensor, "N *positions"]:
        """Uncertainty: the method's own score."""
        return self.own_score
