"""Predictions, the contract: what an answer can say to metrics, decisions and the report."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Self

from jaxtyping import Bool, Float
from torch import Tensor

from duda.checks import ArrayLike
from duda.predictions.over_examples import OverExamples
from duda.predictions.terms import Parts, Terms

__all__ = ["Prediction"]


class Prediction(OverExamples, ABC):
    """What a model says of N examples; the subclasses are frozen dataclasses.

    Their fields are tensors over the examples, as `OverExamples` asks for. What else is asked of a
    prediction, by metrics, decisions and the report, it answers itself, so that a new family is one
    file.

    Attributes:
        draws: the kept draws, examples on dimension 1; None where there are none.
        joint: whether a draw is one function, the same for all examples.
        score_name: what the score is called, such as "entropy".
        score_unit: in which unit; empty where it has a scale of its own.
        score_meaning: what uncertainty is, to follow "Uncertainty is".
        loss_name: what the mean of `loss` is called, such as "mean squared error".
    """

    derived: ClassVar[tuple[str, ...]] = ("score",)
    score_name: ClassVar[str] = "score"
    score_unit: str = ""
    score_meaning: str = "a score of its own; higher is less sure"
    loss_name: ClassVar[str]

    @property
    @abstractmethod
    def score(self) -> Tensor:
        """Uncertainty, higher is worse."""

    @property
    @abstractmethod
    def outputs(self) -> str:
        """What is predicted for each example, in words, such as "10 classes"."""

    @abstractmethod
    def loss(self, y: ArrayLike) -> Float[Tensor, "N *rest"]:
        """Return what each answer costs, in float64: 0 or 1, or a squared error.

        This and what follows is on the device of the prediction if that has float64, else on the
        CPU.

        Raises:
            ValueError: if `y` does not fit.
        """

    @abstractmethod
    def is_bad(self, y: ArrayLike, tolerance: float | None = None) -> Bool[Tensor, "N *rest"]:
        """Return which answers are wrong, or off by more than `tolerance`.

        Raises:
            ValueError: if `y` does not fit, or the tolerance is missing or given in vain.
        """

    @abstractmethod
    def contributions(self, y: ArrayLike) -> dict[str, Terms]:
        """Return what each example adds to each metric that fits, by its name."""

    def log_likelihoods(self, y: ArrayLike) -> Iterator[Float[Tensor, "N *rest"]]:
        """Yield each kept draw's log-likelihood of `y`, nats, in float64; else its own.

        Raises:
            TypeError: if the family has no likelihood.
            ValueError: if `y` does not fit.
        """
        raise TypeError(f"a {type(self).__name__} has no likelihood, which this needs.")

    def parts(self) -> Parts | None:
        """Return the aleatoric and the epistemic part of the uncertainty, None if not both are."""
        return None

    def scores_of(self, kept: Bool[Tensor, "N *targets"]) -> Bool[Tensor, "N *rest"]:
        """Return which scores count, given which targets do."""
        return kept

    def can(self, ability: str) -> bool:
        """Return whether the prediction has what this name asks for, such as "log_prob".

        >>> from duda import GaussianPrediction, QuantilePrediction
        >>> GaussianPrediction([[0.0]], [[1.0]]).can("log_prob")
        True
        >>> QuantilePrediction([[[-1.0], [1.0]]], [0.1, 0.9]).can("log_prob")
        False
        """
        return hasattr(self, ability)

    def with_classes(self, classes: Sequence[str] | None) -> Self:
        """Return the prediction with the names of its classes, where it is of classes."""
        return self

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the prediction to `path` as safetensors, whole or not at all."""
        from duda.predictions.storage import write

        return write(path, self)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is damaged or holds something else.
        """
        from duda.predictions.storage import read

        return read(path, {cls.__name__: cls})
