"""What every prediction can do: be sliced, joined, moved and saved."""

from __future__ import annotations

import dataclasses
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from duda.checks import (
    ArrayLike,
    as_tensor,
    at_least_float32,
    check_finite,
    check_same_shape,
)
from duda.files import write_atomically

__all__ = [
    "FORMAT",
    "Prediction",
    "check_draws",
    "check_no_nan",
    "check_scale",
    "finite_numbers",
]

FORMAT = {"format": "duda.prediction", "version": "1"}


class Prediction(ABC):
    """Tensors over the same N examples; the subclasses are frozen dataclasses of them.

    The examples are dimension 0 of each tensor, and dimension 1 of `draws`.

    Attributes:
        derived: the names of what follows from the tensors.
        shared: the names of tensors that are not over examples, but the same for all.
    """

    draws: Tensor | None
    derived: ClassVar[tuple[str, ...]]
    shared: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def score(self) -> Tensor:
        """Uncertainty, higher is worse."""

    def _tensors(self) -> dict[str, Tensor]:
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}  # type: ignore[arg-type]
        return {name: value for name, value in values.items() if value is not None}

    def __len__(self) -> int:
        return len(next(iter(self._tensors().values())))

    def __getitem__(
        self, index: int | slice | Sequence[int] | np.ndarray | Int[Tensor, "K"] | Bool[Tensor, "N"]
    ) -> Self:
        """Return the chosen examples; a single number gives a prediction of length 1.

        Raises:
            IndexError: if there are no such examples, or a mask does not fit.
        """
        tensors = self._tensors()
        chosen = _chosen(index, len(self))
        if isinstance(chosen, Tensor):
            chosen = chosen.to(next(iter(tensors.values())).device)
        kept = {name: tensors.pop(name) for name in self.shared}
        return type(self)(
            **kept,
            **{
                name: value[:, chosen] if name == "draws" else value[chosen]
                for name, value in tensors.items()
            },
        )

    def __repr__(self) -> str:
        shapes = ", ".join(
            f"{name}={tuple(value.shape)}" for name, value in self._tensors().items()
        )
        return f"{type(self).__name__}({shapes})"

    @classmethod
    def concatenate(cls, predictions: Sequence[Self]) -> Self:
        """Return one prediction for the examples of all, in order.

        Raises:
            TypeError: if they are predictions of another kind.
            ValueError: if there are none, or they differ in more than the number of examples.
        """
        if not predictions:
            raise ValueError("`predictions` is empty, expected at least one prediction.")
        for prediction in predictions:
            if type(prediction) is not cls:
                raise TypeError(
                    f"`predictions` holds a {type(prediction).__name__}, expected each to be a "
                    f"{cls.__name__}."
                )
        parts = [prediction._tensors() for prediction in predictions]
        kept = {name: [part.pop(name) for part in parts] for name in cls.shared}
        for name, values in kept.items():
            if not all(torch.equal(value, values[0]) for value in values):
                raise ValueError(
                    f"`predictions` differ in their `{name}`: predict all with one model."
                )
        if any(_shapes_of_one(part) != _shapes_of_one(parts[0]) for part in parts):
            raise ValueError(
                "`predictions` differ in their classes, outputs, positions or draws: predict all "
                "with one model and the same `keep_draws` and `samples`."
            )
        return cls(
            **{name: values[0] for name, values in kept.items()},
            **{
                name: torch.cat([part[name] for part in parts], dim=1 if name == "draws" else 0)
                for name in parts[0]
            },
        )

    def to(self, device: torch.device | str) -> Self:
        """Return the prediction with its tensors on `device`."""
        return type(self)(**{name: value.to(device) for name, value in self._tensors().items()})

    def numpy(self) -> dict[str, np.ndarray]:
        """Return all that the prediction holds and all that follows from it, as arrays by name."""
        values = self._tensors() | {name: getattr(self, name) for name in self.derived}
        return {name: value.detach().cpu().numpy() for name, value in values.items()}

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the prediction to `path` as safetensors, whole or not at all."""
        from safetensors.torch import save

        tensors = {name: value.detach().cpu() for name, value in self._tensors().items()}
        # The format refuses gaps, and two names for the same memory.
        whole = {
            name: value.clone(memory_format=torch.contiguous_format)
            for name, value in tensors.items()
        }
        # Not save_file: killed, it would leave a file with a name of its own behind.
        return write_atomically(path, save(whole, FORMAT | {"kind": type(self).__name__}))


def _chosen(index: Any, count: int) -> slice | Tensor:
    """Return `index` as a slice forwards, or as one dimension of truth values or numbers."""
    if isinstance(index, slice):
        if index.step is None or index.step > 0:
            return index
        index = range(count)[index]  # torch's slices cannot go backwards
    numbers = as_tensor(index, "index")
    if numbers.ndim > 1 or (numbers.is_floating_point() and len(numbers.flatten())):
        raise IndexError(
            f"`index` has shape {tuple(numbers.shape)} and dtype {numbers.dtype}, expected one "
            "dimension of numbers of examples, or of True and False."
        )
    if numbers.dtype == torch.bool:
        if numbers.shape != (count,):
            raise IndexError(
                f"`index` is a mask of shape {tuple(numbers.shape)}, expected ({count},): one True "
                "or False for each example."
            )
        return numbers
    numbers = numbers.long().reshape(-1)
    wrong = (numbers < -count) | (numbers >= count)
    if bool(wrong.any()):
        raise IndexError(
            f"`index` asks for example {int(numbers[wrong][0])} of a prediction for {count}, "
            f"expected {-count} to {count - 1}."
        )
    return numbers


def _shapes_of_one(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of `tensors` with their examples left out."""
    return {
        name: (len(value), *value.shape[2:]) if name == "draws" else tuple(value.shape[1:])
        for name, value in tensors.items()
    }


def check_draws(draws: Tensor | None, one: tuple[int, ...]) -> None:
    """Raise a `ValueError` unless `draws` are None or at least one draw of shape `one`, no NaN."""
    if draws is None:
        return
    if draws.ndim == 0 or len(draws) == 0:
        raise ValueError(
            f"`draws` has shape {tuple(draws.shape)}, expected at least one draw of shape {one}: "
            "leave it out if there are none."
        )
    check_same_shape(draws, "draws", (len(draws), *one), "the examples, draws first")
    check_no_nan(draws, "draws")


def check_no_nan(value: Tensor, name: str) -> None:
    """Raise a `ValueError` that counts the NaN of `value`; infinite values may pass."""
    nans = int(value.isnan().sum())
    if nans:
        raise ValueError(
            f"`{name}` has {nans} NaN of {value.numel()} values: check the network's weights and "
            "inputs."
        )


def check_scale(factor: float, offset: float) -> None:
    """Raise a `ValueError` unless `offset + factor * y` are finite numbers in the order of `y`."""
    if not (0 < factor < math.inf and math.isfinite(offset)):
        raise ValueError(
            f"`factor` is {factor} and `offset` {offset}, expected finite numbers, `factor` above "
            "0: the standard deviation and the mean by which targets were standardised."
        )


def finite_numbers(value: ArrayLike, name: str) -> Tensor:
    """Return `value` as floating-point numbers, none of them NaN or infinite."""
    numbers = at_least_float32(as_tensor(value, name))
    check_finite(numbers, name, "check the network's weights and inputs")
    return numbers
