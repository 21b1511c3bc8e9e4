"""Joint predictions: what a network with several outputs says of each, by the same draws."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, KeysView, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn, Self

import numpy as np
import torch
from torch import Tensor

from duda.checks import ArrayLike
from duda.packing import in_words
from duda.predictions.base import Prediction

__all__ = ["JointPrediction"]


@dataclass(frozen=True, eq=False, repr=False)
class JointPrediction(Prediction):
    """One prediction for each name, of the same examples and by the same draws.

    `prediction["box"]` is that of one name, which metrics, decisions and reports take;
    `prediction[:10]` are examples, of all names. Its length is the number of examples.

    Args:
        by_name: the predictions.
        joint: whether a draw is one function for all examples.

    >>> from duda import ClassPrediction, GaussianPrediction
    >>> answer = JointPrediction(
    ...     {
    ...         "class": ClassPrediction.from_probs([[0.9, 0.1]] * 3),
    ...         "depth": GaussianPrediction([[0.0]] * 3, [[1.0]] * 3),
    ...     }
    ... )
    >>> answer.names, len(answer), answer[:2]["class"].labels
    (('class', 'depth'), 3, tensor([0, 0]))
    """

    by_name: Mapping[str, Prediction]
    joint: bool = field(default=False, kw_only=True)

    derived: ClassVar[tuple[str, ...]] = ()
    loss_name: ClassVar[str] = "loss"

    def __post_init__(self) -> None:
        given = dict(self.by_name)
        if not given:
            raise ValueError("`by_name` is empty, expected a prediction for each name.")
        for name, part in given.items():
            if not isinstance(part, Prediction) or not isinstance(name, str):
                raise TypeError(
                    f"`by_name` has a {type(part).__name__} as {name!r}, expected predictions by "
                    "their names."
                )
        counts = {len(part) for part in given.values()}
        if len(counts) > 1:
            raise ValueError(
                f"`by_name` are of {sorted(counts)} examples, expected the same for each name."
            )
        object.__setattr__(self, "by_name", given)

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(self.by_name)

    def keys(self) -> KeysView[str]:
        """Return the names, as a dict does."""
        return self.by_name.keys()

    def items(self) -> ItemsView[str, Prediction]:
        """Return names and predictions, as a dict does."""
        return self.by_name.items()

    def __contains__(self, name: object) -> bool:
        return name in self.by_name

    def __getitem__(self, index: Any) -> Any:
        """Return the prediction of a name, or the chosen examples of all."""
        if not isinstance(index, str):
            return self._each(lambda part: part[index])
        if index not in self.by_name:
            raise KeyError(f"{index!r}, expected {in_words(self.by_name)}")
        return self.by_name[index]

    def _each(self, change: Callable[[Prediction], Prediction]) -> Self:
        changed = type(self)({name: change(part) for name, part in self.items()})
        return changed.with_joint(self.joint, self.drawn)

    def _over_examples(self) -> dict[str, Any]:
        return dict(self.by_name)

    def _first(self) -> tuple[str, Prediction]:
        return next(iter(self.by_name.items()))

    @property
    def said_shape(self) -> tuple[int, ...]:
        """The shapes of what is said of each example, one after the other."""
        return tuple(size for part in self.by_name.values() for size in part.said_shape)

    @classmethod
    def concatenate(cls, predictions: Sequence[Self]) -> Self:
        """Return one prediction for the examples of all, in order.

        Raises:
            TypeError: if they are predictions of another kind.
            ValueError: if there are none, or they differ in more than the number of examples.
        """
        if not predictions or any(type(each) is not cls for each in predictions):
            return super().concatenate(predictions)  # which says it
        names = predictions[0].names
        for each in predictions:
            if each.names != names:
                raise ValueError(
                    f"`predictions` have the names {in_words(names)} and {in_words(each.names)}, "
                    "expected the same: predict all with one model."
                )
        parts = {
            name: type(predictions[0][name]).concatenate([each[name] for each in predictions])
            for name in names
        }
        one = parts[names[0]]
        return cls(parts).with_joint(one.joint, one.drawn)

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Self:
        """Return the prediction with its tensors on `device`, and floats in `dtype` if given."""
        return self._each(lambda part: part.to(device, dtype))

    def with_joint(self, joint: bool, drawn: int | None = None) -> Self:
        """Return the prediction, told whether its draws are functions, and if so which."""
        told = super().with_joint(joint, drawn)
        parts = {name: part.with_joint(joint, drawn) for name, part in self.items()}
        object.__setattr__(told, "by_name", parts)
        return told

    def numpy(self) -> dict[str, np.ndarray]:
        """Return all that the predictions hold, as arrays by names such as "box.mean"."""
        return {
            f"{name}.{own}": array
            for name, part in self.items()
            for own, array in part.numpy().items()
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={part!r}' for k, part in self.items())})"

    @property
    def score(self) -> Tensor:
        """There is none: each name has its own."""
        self._of_a_name("score")

    @property
    def outputs(self) -> str:
        """What is predicted for each example, in words."""
        return ", ".join(f"{name}: {part.outputs}" for name, part in self.items())

    def can(self, ability: str) -> bool:
        """Return False: what a prediction can, its parts can."""
        return False

    def loss(self, y: ArrayLike) -> NoReturn:
        """There is none: each name has its own."""
        self._of_a_name("loss")

    def is_bad(self, y: ArrayLike, tolerance: float | None = None) -> NoReturn:
        """There is none: each name has its own."""
        self._of_a_name("is_bad")

    def contributions(self, y: ArrayLike) -> NoReturn:
        """There are none: each name has its own."""
        self._of_a_name("contributions")

    @property
    def one_by_one(self) -> str:
        """How to take the prediction of one name, in words."""
        return f"take {' or '.join(f'`prediction[{name!r}]`' for name in self.names)}"

    def _of_a_name(self, asked: str) -> NoReturn:
        raise TypeError(
            f"a JointPrediction has a `{asked}` for each name, expected the prediction of one: "
            f"{self.one_by_one}."
        )
