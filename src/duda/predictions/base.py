"""Predictions: the contract of what an answer can say, and how it is sliced, joined and moved."""

from __future__ import annotations

import copy
import dataclasses
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NoReturn, Self

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from duda.checks import ArrayLike
from duda.predictions.indices import chosen
from duda.predictions.terms import Parts, Terms

__all__ = ["Prediction"]


class Prediction(ABC):
    """What a model says of N examples; the subclasses are frozen dataclasses.

    Their fields are tensors with the examples on dimension 0 (of `draws` on dimension 1), other
    predictions for the same examples, or settings. What else is asked of a prediction, by metrics,
    decisions and the report, it answers itself, so that a new family is one file.

    Attributes:
        draws: the kept draws, examples on dimension 1; None where there are none.
        joint: whether a draw is one function, the same for all examples.
        drawn: a number that tells these functions from those of other predictions, in which the
            same ones have the same; None where nobody knows.
        derived: the names of what follows from the fields.
        shared: the names of tensors that are not over examples, but the same for all.
        score_name: what the score is called, such as "entropy".
        score_unit: in which unit; empty where it has a scale of its own.
        score_meaning: what uncertainty is, to follow "Uncertainty is".
        loss_name: what the mean of `loss` is called, such as "mean squared error".
    """

    draws: Tensor | None = None
    joint: bool = False
    drawn: int | None = None
    derived: ClassVar[tuple[str, ...]] = ("score",)
    shared: ClassVar[tuple[str, ...]] = ()
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
        """Return what each answer costs, in float64 on the CPU: 0 or 1, or a squared error.

        Raises:
            ValueError: if `y` does not fit.
        """

    @abstractmethod
    def is_bad(self, y: ArrayLike, tolerance: float | None = None) -> Bool[Tensor, "N *rest"]:
        """Return which answers are wrong, or off by more than `tolerance`, on the CPU.

        Raises:
            ValueError: if `y` does not fit, or the tolerance is missing or given in vain.
        """

    @abstractmethod
    def contributions(self, y: ArrayLike) -> dict[str, Terms]:
        """Return what each example adds to each metric that fits, by its name, on the CPU."""

    def log_likelihoods(self, y: ArrayLike) -> Iterator[Float[Tensor, "N *rest"]]:
        """Yield each kept draw's log-likelihood of `y`, nats, float64 on the CPU; else its own.

        Raises:
            TypeError: if the family has no likelihood.
            ValueError: if `y` does not fit.
        """
        raise TypeError(f"a {type(self).__name__} has no likelihood, which this needs.")

    def parts(self) -> Parts | None:
        """Return the aleatoric and the epistemic part of the uncertainty, None if not both are."""
        return None

    def can(self, ability: str) -> bool:
        """Return whether the prediction has what this name asks for, such as "log_prob".

        >>> from duda import GaussianPrediction, QuantilePrediction
        >>> GaussianPrediction([[0.0]], [[1.0]]).can("log_prob")
        True
        >>> QuantilePrediction([[[-1.0], [1.0]]], [0.1, 0.9]).can("log_prob")
        False
        """
        return hasattr(self, ability)

    def _fields(self) -> dict[str, Any]:
        """Return all fields by name, without the tensors that are missing."""
        if not dataclasses.is_dataclass(self):
            raise TypeError(
                f"a {type(self).__name__} is no dataclass, expected its tensors as the fields of "
                "one: decorate it with `@dataclass(frozen=True, eq=False, repr=False)`."
            )
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def _over_examples(self) -> dict[str, Tensor | Prediction]:
        """Return the fields that hold something for each example."""
        return {
            name: value
            for name, value in self._fields().items()
            if isinstance(value, (Tensor, Prediction)) and name not in self.shared
        }

    def _changed(self, change: Callable[[str, Any], Any]) -> Self:
        """Return the prediction with what it holds for each example changed, by name and value."""
        changed = {name: change(name, value) for name, value in self._over_examples().items()}
        return type(self)(**(self._fields() | changed))._with_drawn(self.drawn)

    @property
    def said_shape(self) -> tuple[int, ...]:
        """The shape of what is said of each example, such as (C, *positions)."""
        value = next(iter(self._over_examples().values()))
        return value.said_shape if isinstance(value, Prediction) else tuple(value.shape[1:])

    def __len__(self) -> int:
        name, value = next(iter(self._over_examples().items()))
        return value.shape[1] if name == "draws" and isinstance(value, Tensor) else len(value)

    @property
    def device(self) -> torch.device:
        """Where the tensors lie."""
        return next(iter(self._over_examples().values())).device

    def __getitem__(
        self, index: int | slice | Sequence[int] | np.ndarray | Int[Tensor, "K"] | Bool[Tensor, "N"]
    ) -> Self:
        """Return the chosen examples; a single number gives a prediction of length 1.

        Raises:
            IndexError: if there are no such examples, or a mask does not fit.
        """
        rows = chosen(index, len(self))
        if isinstance(rows, Tensor):
            rows = rows.to(self.device)
        return self._changed(lambda name, value: value[:, rows] if name == "draws" else value[rows])

    def __array__(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("it is no array, but its `numpy()` holds arrays by name")

    def __repr__(self) -> str:
        shown = (
            f"{name}={tuple(value.shape)}" if isinstance(value, Tensor) else f"{name}={value!r}"
            for name, value in self._fields().items()
            if isinstance(value, (Tensor, Prediction)) or value
        )
        return f"{type(self).__name__}({', '.join(shown)})"

    @classmethod
    def concatenate(cls, predictions: Sequence[Self]) -> Self:
        """Return one prediction for the examples of all, in order.

        Raises:
            TypeError: if they are predictions of another kind.
            ValueError: if there are none, or they differ in more than the number of examples.
        """
        from duda.predictions.concatenation import concatenated

        return concatenated(cls, predictions)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Self:
        """Return the prediction with its tensors on `device`, and floats in `dtype` if given."""

        def moved(value: Any) -> Any:
            if isinstance(value, Tensor) and not value.is_floating_point():
                return value.to(device)
            return value.to(device, dtype) if isinstance(value, (Tensor, Prediction)) else value

        fields = {name: moved(value) for name, value in self._fields().items()}
        return type(self)(**fields)._with_drawn(self.drawn)

    def with_joint(self, joint: bool, drawn: int | None = None) -> Self:
        """Return the prediction, told whether its draws are functions, and if so which."""
        told = copy.copy(self)
        object.__setattr__(told, "joint", joint)
        return told._with_drawn(drawn)

    def _with_drawn(self, drawn: int | None) -> Self:
        object.__setattr__(self, "drawn", drawn)  # no field: it means nothing in a file
        return self

    def numpy(self) -> dict[str, np.ndarray]:
        """Return all that the prediction holds and all that follows from it, as arrays by name."""
        tensors = self._fields() | {name: getattr(self, name) for name in self.derived}
        return {
            name: value.detach().cpu().numpy()
            for name, value in tensors.items()
            if isinstance(value, Tensor)
        }

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
