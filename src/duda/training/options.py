"""Options of training: how long, by which optimizer, and with which seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from duda.checks import check_count, plain_number
from duda.training.optimizers import OptimizerFactory, described
from duda.training.seeds import new_seed

__all__ = ["Options"]


@dataclass
class Options:
    """Arguments of `fit` that are no data, checked; numbers of numpy become those of Python.

    Attributes:
        start: the seed that was given, or one drawn in its place.

    Raises:
        ValueError: if one of them is not what it should be.
    """

    epochs: int
    optimizer: OptimizerFactory | None
    lr: float | None
    batch_size: int
    patience: int | None
    seed: int | None
    drop_last: bool = False
    start: int = field(init=False)

    def __post_init__(self) -> None:
        self.epochs = check_count(self.epochs, "epochs")
        self.batch_size = check_count(self.batch_size, "batch_size")
        if self.patience is not None:
            self.patience = check_count(self.patience, "patience")
        if not isinstance(self.drop_last, bool):
            raise TypeError(f"`drop_last` is {self.drop_last!r}, expected True or False.")
        self.start = new_seed(self.seed)

    def settings(self) -> dict[str, Any]:
        """Return as JSON values what must be the same for a run to go on."""
        return {
            "epochs": self.epochs,
            "optimizer": described(self.optimizer),
            "lr": plain_number(self.lr),
            "batch_size": self.batch_size,
            "drop_last": self.drop_last,
            "patience": self.patience,
            "seed": None if self.seed is None else self.start,
        }
