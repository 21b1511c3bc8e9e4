"""Point predictions: numbers that come without a word of how sure they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NoReturn

from jaxtyping import Bool, Float
from torch import Tensor

from duda.checks import ArrayLike, counted
from duda.predictions import Prediction
from duda.predictions.terms import Terms
from duda.predictions.validity import finite_numbers, numbers_like, valid_tolerance
from duda.reporting import Report, Row
from duda.reporting.theme import palette
from duda.reporting.verdict import Verdict

__all__ = ["PointPrediction", "report_of_points"]


@dataclass(frozen=True, eq=False, repr=False)
class PointPrediction(Prediction):
    """A number for each output, with no standard deviation, quantiles or draws.

    Args:
        mean: `(N, D, *positions)`, in units of the target.

    >>> answer = PointPrediction([[1.0], [2.0]])
    >>> answer.loss([[1.0], [4.0]]).flatten(), answer.can("score")
    (tensor([0., 4.], dtype=torch.float64), False)
    """

    mean: Float[Tensor, "N D *positions"]
    joint: bool = field(default=False, kw_only=True)

    derived: ClassVar[tuple[str, ...]] = ()
    loss_name: ClassVar[str] = "mean squared error"

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", finite_numbers(self.mean, "mean"))

    @property
    def centre(self) -> Tensor:
        """The one number to name."""
        return self.mean

    @property
    def score(self) -> NoReturn:
        """There is none."""
        raise AttributeError("a PointPrediction has no score: it says nothing of how sure it is.")

    @property
    def outputs(self) -> str:
        """How many numbers are predicted, in words."""
        return counted(self.mean.shape[1], "output")

    def loss(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        """Return the squared errors."""
        return self._errors(y).square()

    def is_bad(
        self, y: ArrayLike, tolerance: float | None = None
    ) -> Bool[Tensor, "N D *positions"]:
        """Return where the number is off by more than `tolerance`."""
        return self._errors(y).abs() > valid_tolerance(tolerance)

    def contributions(self, y: ArrayLike) -> dict[str, Terms]:
        """Return squared and absolute errors."""
        errors = self._errors(y)
        return {"rmse": Terms(errors.square(), "root-mean"), "mae": Terms(errors.abs())}

    def _errors(self, y: ArrayLike) -> Tensor:
        return (numbers_like(self.mean, y) - self.mean.double()).cpu()


def report_of_points(name: str, table: Sequence[Row], title: str, about: str) -> Report:
    """Return a page on predictions that have no uncertainty to report."""
    doubt = (
        "It predicts points: without a standard deviation, quantiles or draws nothing can be told "
        "of how far each of them can be trusted."
    )
    return Report(
        title=title,
        about=about,
        styles=palette([name]),
        verdicts={name: Verdict("says nothing of its doubt", False, (doubt,))},
        table=table,
        seeds=1,
        uncertainty="There is no uncertainty in these predictions.",
    )
