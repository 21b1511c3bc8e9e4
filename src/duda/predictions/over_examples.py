"""Fields over examples: how what is held for each of them is sliced, joined, moved and shown."""

from __future__ import annotations

import copy
import dataclasses
import functools
import reprlib
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NoReturn, Self

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from duda.predictions.indices import chosen

__all__ = ["OverExamples"]


class OverExamples:
    """Something for each of N examples; the subclasses are frozen dataclasses.

    Their fields are tensors with the examples on dimension 0 (of `draws` on dimension 1), others of
    this kind for the same examples, or settings.

    Attributes:
        drawn: a number that tells the functions that joint draws are from others, the same for the
            same functions; None where nobody knows.
        derived: the names of what follows from the fields.
        shared: the names of tensors that are not over examples, but the same for all.
    """

    draws: Tensor | None = None
    joint: bool = False
    drawn: int | None = None
    derived: ClassVar[tuple[str, ...]] = ()
    shared: ClassVar[tuple[str, ...]] = ()

    def _fields(self) -> dict[str, Any]:
        """Return all fields by name, without the tensors that are missing."""
        names = _names(type(self))  # type: ignore[arg-type] # a class can be hashed
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    def _over_examples(self) -> dict[str, Tensor | OverExamples]:
        """Return the fields that hold something for each example."""
        return {
            name: value
            for name, value in self._fields().items()
            if isinstance(value, (Tensor, OverExamples)) and name not in self.shared
        }

    def _changed(self, change: Callable[[str, Any], Any]) -> Self:
        """Return the prediction with what it holds for each example changed, by name and value."""
        changed = {name: change(name, value) for name, value in self._over_examples().items()}
        return type(self)(**(self._fields() | changed))._with_drawn(self.drawn)

    @property
    def said_shape(self) -> tuple[int, ...]:
        """The shape of what is said of each example, such as (C, *positions)."""
        _, value = self._first()
        return value.said_shape if isinstance(value, OverExamples) else tuple(value.shape[1:])

    def __len__(self) -> int:
        name, value = self._first()
        return value.shape[1] if name == "draws" and isinstance(value, Tensor) else len(value)

    @property
    def device(self) -> torch.device:
        """Where the tensors lie."""
        return self._first()[1].device

    def _first(self) -> tuple[str, Tensor | OverExamples]:
        """Return the first field that holds something for each example, and its name."""
        for name in _names(type(self)):  # type: ignore[arg-type]
            value = getattr(self, name)
            if isinstance(value, (Tensor, OverExamples)) and name not in self.shared:
                return name, value
        raise StopIteration

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

    def __copy__(self) -> Self:
        copied = object.__new__(type(self))
        vars(copied).update(vars(self))
        return copied

    def __array__(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("it is no array, but its `numpy()` holds arrays by name")

    def __repr__(self) -> str:
        shown = (
            f"{name}={tuple(value.shape) if isinstance(value, Tensor) else reprlib.repr(value)}"
            for name, value in self._fields().items()
            if isinstance(value, (Tensor, OverExamples)) or value
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
            return value.to(device, dtype) if isinstance(value, (Tensor, OverExamples)) else value

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


@functools.cache
def _names(kind: Any) -> tuple[str, ...]:
    """Return the names of all fields."""
    if not dataclasses.is_dataclass(kind):
        raise TypeError(
            f"a {kind.__name__} is no dataclass, expected its tensors as the fields of "
            "one: decorate it with `@dataclass(frozen=True, eq=False, repr=False)`."
        )
    return tuple(field.name for field in dataclasses.fields(kind))
