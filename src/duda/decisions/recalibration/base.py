"""Recalibration of classes: learn from held-out labels, map probabilities, wrap a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields
from typing import Any, Generic, Protocol, Self, TypeVar, overload

import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import ArrayLike, check_finite
from duda.decisions.claims import Claims
from duda.decisions.fitted import Fitted
from duda.predictions import BernoulliPrediction, ClassPrediction, Prediction
from duda.predictions.given import ClassesGiven
from duda.storage import Format

__all__ = ["ClassRecalibration", "Recalibrated", "Recalibration", "check_classes_present"]

Answer = TypeVar("Answer", bound=Prediction)


class Predictor(Protocol):
    """Anything that answers, such as an UncertainModel."""

    def predict(self, x: Any, **options: Any) -> Any:
        """Return a prediction for the inputs `x`."""


class Recalibrated(Generic[Answer]):
    """A model whose answers are recalibrated.

    It is no thing to keep: `duda.save` keeps the model, and `recalibration.save` what was fitted.

    Args:
        model: anything with `predict(x, ...)`, such as an UncertainModel.
        recalibration: what its predictions go through.
    """

    def __init__(self, model: Predictor, recalibration: Recalibration[Answer]) -> None:
        if not callable(getattr(model, "predict", None)):
            raise TypeError(
                f"`model` is a {type(model).__name__}, expected something with `predict(x)`, such "
                "as a `duda.MCDropout`."
            )
        recalibration.check_fitted()
        self.model, self.recalibration = model, recalibration

    def predict(self, x: Any, **options: Any) -> Answer:
        """Return the model's prediction for `x`, recalibrated; `options` are the model's own."""
        return self.recalibration(self.model.predict(x, **options))


class Recalibration(Fitted, ABC, Generic[Answer]):
    """Learns from one split how to correct predictions, and corrects those of another."""

    format = Format("recalibration")

    @abstractmethod
    def __call__(self, prediction: Any, /) -> Answer:
        """Return the prediction, recalibrated."""

    def check_learned(self) -> None:
        """Raise a `ValueError` if something learned is NaN or infinite."""
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, float | Tensor):
                check_finite(torch.as_tensor(value), each.name, "save it again")

    def wrap(self, model: Predictor) -> Recalibrated[Answer]:
        """Return an object with the `predict` of `model`, whose answers are recalibrated.

        Raises:
            ValueError: before `fit`.
        """
        return Recalibrated(model, self)


def check_classes_present(labels: Int[Tensor, "R"], classes: int) -> None:
    """Raise a `ValueError` unless there are labels of each of the classes."""
    absent = torch.bincount(labels, minlength=classes) == 0
    if bool(absent.any()):
        raise ValueError(
            f"`y` has no example of class {int(absent.nonzero()[0])}, of which nothing can be "
            f"learned: give examples of all {classes} classes, or use `Temperature`."
        )


@dataclass(eq=False)
class ClassRecalibration(Recalibration[ClassPrediction]):
    """Maps the mean probabilities of an example to better ones.

    In a recalibrated `ClassPrediction` the entropy changes, and its `epistemic` share stays: so
    entropy == aleatoric + epistemic. `votes` and a score of the method's own stay what they were;
    `draws` are left out, as the mean of recalibrated draws is not the recalibrated mean.
    """

    classes: int = field(init=False, repr=False)

    def check_learned(self) -> None:
        """Raise a `ValueError` if something learned is not finite, or of fewer than two classes."""
        super().check_learned()
        if self.classes < 2:
            raise ValueError(f"its `classes` is {self.classes}, expected at least 2.")

    @abstractmethod
    def _learn(self, claims: Claims, labels: Int[Tensor, "R"]) -> None:
        """Fill the learned fields but `classes`."""

    @abstractmethod
    def _map(self, claims: Claims) -> Float[Tensor, "R C"]:
        """Return recalibrated log-probabilities."""

    def fit(
        self,
        probs: ClassesGiven = None,
        y: ArrayLike | None = None,
        *,
        logits: ArrayLike | None = None,
        ignore_index: int | None = None,
    ) -> Self:
        """Learn from held-out examples, and return itself.

        Args:
            probs: a `ClassPrediction`, or probabilities `(N, C, *positions)`.
            y: integer labels `(N, *positions)`.
            logits: in place of `probs`.
            ignore_index: the label of positions to leave out.

        Raises:
            ValueError: if `probs` are no distributions, shapes differ, a label is not in 0 to
                C - 1, there are no examples, or NaN.
        """
        claims, labels = Claims(probs, logits).labelled(y, ignore_index)
        self._learn(claims, labels)
        self.classes = claims.shape[1]
        return self

    @overload
    def __call__(self, probs: ClassPrediction, /) -> ClassPrediction: ...

    @overload
    def __call__(self, probs: BernoulliPrediction, /) -> BernoulliPrediction: ...

    @overload
    def __call__(
        self, probs: ArrayLike | None = None, /, *, logits: ArrayLike | None = None
    ) -> Float[Tensor, "N C *positions"]: ...

    def __call__(
        self, probs: ClassesGiven = None, /, *, logits: ArrayLike | None = None
    ) -> ClassPrediction | BernoulliPrediction | Tensor:
        """Return a recalibrated prediction for a prediction, and float64 probabilities for arrays.

        Raises:
            ValueError: before `fit`, or if there are not as many classes as in `fit`.
        """
        self.check_fitted()
        claims = Claims(probs, logits)
        claims.check_width(self.classes)
        return claims.corrected(self._map(claims))
