"""Options of a run: how long, by which training, and with which seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from duda.checks import check_count
from duda.likelihoods import TargetScale
from duda.training.data import LoaderData, TensorData
from duda.training.descriptions import described
from duda.training.seeds import new_seed
from duda.training.settings import Training

__all__ = ["Options"]


@dataclass
class Options:
    """Arguments of `fit` that are no data, checked; numbers of numpy become those of Python.

    Attributes:
        start: the seed that was given, or one drawn in its place.

    Raises:
        ValueError: if one of them is not what it should be.
    """

    training: Training
    epochs: int | None
    steps: int | None
    patience: int | None
    seed: int | None
    target_scale: TargetScale | Mapping[str, TargetScale] | Literal["auto"] | None = "auto"
    start: int = field(init=False)

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            given = "are both given" if self.steps is not None else "are missing"
            raise ValueError(
                f"`epochs` and `steps` {given}, expected one of them: how often to see the data, "
                "or how many steps to make."
            )
        for name in ("epochs", "steps", "patience"):
            if getattr(self, name) is not None:
                setattr(self, name, check_count(getattr(self, name), name))
        scale = self.target_scale
        if not (scale is None or scale == "auto" or isinstance(scale, TargetScale | Mapping)):
            raise TypeError(
                f"`target_scale` is {scale!r}, expected 'auto', None, or a `duda.TargetScale`."
            )
        self.start = new_seed(self.seed)

    def most_steps(self, data: TensorData | LoaderData) -> int | None:
        """Return how many steps the training has, at most, or None where nobody knows."""
        if self.steps is not None or self.epochs is None:
            return self.steps
        each = self._steps_of_an_epoch(data)
        return None if each is None else self.epochs * each

    def most_epochs(self, data: TensorData | LoaderData) -> int:
        """Return how many epochs the training has, at most; each has at least one step."""
        if self.epochs is not None or self.steps is None:
            return self.epochs or 0
        return -(-self.steps // (self._steps_of_an_epoch(data) or 1))

    def _steps_of_an_epoch(self, data: TensorData | LoaderData) -> int | None:
        batches = data.batches()
        return None if batches is None else -(-batches // self.training.accumulate)

    def settings(self) -> dict[str, Any]:
        """Return as JSON values what must be the same for a run to go on."""
        return self.training.described() | {
            "epochs": self.epochs,
            "steps": self.steps,
            "patience": self.patience,
            "target_scale": described(self.target_scale, "target_scale"),
            "seed": None if self.seed is None else self.start,
        }
