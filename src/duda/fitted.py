"""What is kept in files: results, and what is fitted, its options and what `fit` learned."""

from __future__ import annotations

import inspect
import os
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self, get_origin, get_type_hints

import torch
from jaxtyping import jaxtyped
from torch import Tensor

from duda.params import Params
from duda.storage import Format, holding

__all__ = ["Fitted", "Kept", "check_that"]


class Kept:
    """A dataclass that files can hold: of tensors, numbers, texts and lists of these.

    Annotations of the fields tell shapes and dtypes, `Float[Tensor, "C D"]`, and a file is read
    only if it has what they say, one size for each letter.

    Attributes:
        format: of its files.
    """

    format: ClassVar[Format]

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write all that there is to `path` as safetensors, whole or not at all.

        Raises:
            ValueError: before `fit`, of what is fitted.
            OSError: if the file cannot be written.
        """
        return self.format.write(path, type(self).__name__, self.state())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote, to the last bit.

        An abstract class reads what any of its concrete ones wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is damaged or holds something else.
        """
        return cls.restored(path, *cls.format.read(path))

    def state(self) -> dict[str, Any]:
        """Return all that there is, as files hold it."""
        return {each.name: getattr(self, each.name) for each in fields(self)}  # type: ignore[arg-type] # a dataclass

    def check_values(self) -> None:
        """Raise a `ValueError` if values, each of its type and shape, cannot be."""

    @classmethod
    def restored(cls, path: str | os.PathLike[str], kind: str, state: Any) -> Self:
        """Return what had this `state`, with errors that name the file it stood in.

        Raises:
            ValueError: if that is not of the class, or not whole.
        """
        kinds = cls._kinds()
        if kind not in kinds:
            raise ValueError(
                f"`{path}` holds a {cls.format.noun} of the kind {kind!r}, expected "
                f"{', '.join(kinds)}."
            )
        with holding(path, kind):
            return kinds[kind]._of_state(state)

    @classmethod
    def _kinds(cls) -> dict[str, type[Self]]:
        """Return the class by its name, or of an abstract one all that are made of it."""
        if not inspect.isabstract(cls):
            return {cls.__name__: cls}
        return {name: kind for each in cls.__subclasses__() for name, kind in each._kinds().items()}

    @classmethod
    def _of_state(cls, state: Any) -> Self:
        wanted = {each.name for each in fields(cls)}  # type: ignore[arg-type] # a dataclass
        if state.keys() != wanted:
            raise ValueError(f"it lacks some of {sorted(wanted)}, or has others; save it again.")
        _check_values(cls, state)
        made = cls(**state)
        made.check_values()
        return made


@dataclass(eq=False)
class Fitted(Kept, Params):
    """Options, and what `fit` learned: the latter are fields with `init=False`."""

    @property
    def is_fitted(self) -> bool:
        """Whether `fit` was called."""
        return all(hasattr(self, each.name) for each in fields(self))

    def check_fitted(self) -> None:
        """Raise a `ValueError` if `fit` was not called yet."""
        if not self.is_fitted:
            raise ValueError(f"this {type(self).__name__} is not fitted: call its `fit` first.")

    def check_learned(self) -> None:
        """Raise a `ValueError` if learned fields, each of its type and shape, hold NaN."""
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, float | Tensor) and torch.as_tensor(value).isnan().any():
                raise ValueError(f"its `{each.name}` has NaN; save it again.")

    def state(self) -> dict[str, Any]:
        """Return options and what was learned, as files hold them.

        Raises:
            ValueError: before `fit`.
        """
        self.check_fitted()
        learned = {each.name: getattr(self, each.name) for each in fields(self) if not each.init}
        return {"options": self.get_params(deep=False), "learned": learned}

    @classmethod
    def _of_state(cls, state: Any) -> Self:
        learned = {each.name for each in fields(cls) if not each.init}
        whole = isinstance(state, dict) and state.keys() == {"options", "learned"}
        if not whole or state["learned"].keys() != learned:
            raise ValueError(f"it lacks some of {sorted(learned)}, or has others; save it again.")
        made = cls(**state["options"])
        _check_values(cls, state["learned"])
        for name, value in state["learned"].items():
            setattr(made, name, value)
        made.check_learned()
        return made


def check_that(holds: bool | Tensor, otherwise: str) -> None:
    """Raise a `ValueError` that says what is `otherwise` unless all of a condition holds."""
    if not bool(torch.as_tensor(holds).all()):
        raise ValueError(f"its {otherwise}; fit it and save it again.")


def _check_values(cls: type, values: Mapping[str, Any]) -> None:
    """Raise a `ValueError` unless the values of fields are what their annotations say."""
    hints = get_type_hints(cls)
    with jaxtyped("context"):  # where each letter has one size
        for name, value in values.items():
            if not _fits(value, hints[name]):
                raise ValueError(
                    f"its `{name}` is {_described(value)}, expected "
                    f"{getattr(hints[name], '__name__', hints[name])}; save it again."
                )


def _fits(value: Any, hint: Any) -> bool:
    if isinstance(value, bool) and hint is int:  # as Python has it
        return False
    try:
        return isinstance(value, hint)
    except TypeError:  # such as `tuple[float, ...]`
        return isinstance(value, get_origin(hint) or object)


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and {value.dtype}"
    return reprlib.repr(value)
