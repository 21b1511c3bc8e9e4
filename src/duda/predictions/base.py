"""What every prediction can do: be sliced, joined, moved and saved."""

from __future__ import annotations

import dataclasses
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from duda.checks import check_same_shape
from duda.files import write_atomically

__all__ = ["FORMAT", "Prediction", "check_draws", "check_no_nan"]

FORMAT = {"format": "duda.prediction", "version": "1"}


class Prediction(ABC):
    """Tensors over the same N examples; the subclasses are frozen dataclasses of them.

    The examples are dimension 0 of each tensor, and dimension 1 of `draws`.
    """

    draws: Tensor | None
    derived: ClassVar[tuple[str, ...]]

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
        """Return the chosen examples; a single number gives a prediction of length 1."""
        if isinstance(index, int):
            if not -len(self) <= index < len(self):
                raise IndexError(f"example {index} of a prediction for {len(self)} examples.")
            index = slice(index, index + 1 or None)
        if not isinstance(index, slice):
            index = torch.as_tensor(index, device=next(iter(self._tensors().values())).device)
        return type(self)(
            **{
                name: value[:, index] if name == "draws" else value[index]
                for name, value in self._tensors().items()
            }
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
            ValueError: if there are none, or only some of them kept their draws.
        """
        if not predictions:
            raise ValueError("`predictions` is empty, expected at least one prediction.")
        parts = [prediction._tensors() for prediction in predictions]
        if len({frozenset(part) for part in parts}) > 1:
            raise ValueError(
                "`predictions` differ in what they hold: predict all with the same `keep_draws`."
            )
        return cls(
            **{
                name: torch.cat([part[name] for part in parts], dim=1 if name == "draws" else 0)
                for name in parts[0]
            }
        )

    def to(self, device: torch.device | str) -> Self:
        """Return the prediction with its tensors on `device`."""
        return type(self)(**{name: value.to(device) for name, value in self._tensors().items()})

    def numpy(self) -> dict[str, np.ndarray]:
        """Return all that the prediction holds and all that follows from it, as arrays by name."""
        values = self._tensors() | {name: getattr(self, name) for name in self.derived}
        return {name: value.cpu().numpy() for name, value in values.items()}

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the prediction to `path` as safetensors, whole or not at all."""
        from safetensors.torch import save_file

        tensors = {name: value.contiguous().cpu() for name, value in self._tensors().items()}
        metadata = FORMAT | {"kind": type(self).__name__}
        return write_atomically(path, lambda file: save_file(tensors, file, metadata))


def check_draws(draws: Tensor | None, one: tuple[int, ...]) -> None:
    """Raise a `ValueError` unless `draws` are None or any number of draws of shape `one`."""
    if draws is not None:
        check_same_shape(draws, "draws", (len(draws), *one), "the examples, draws first")


def check_no_nan(value: Tensor, name: str) -> None:
    """Raise a `ValueError` that counts the NaN of `value`; infinite values may pass."""
    nans = int(value.isnan().sum())
    if nans:
        raise ValueError(
            f"`{name}` has {nans} NaN of {value.numel()} values: check the network's weights and "
            "inputs."
        )
