"""Options of training: how long, by which optimizer, and with which seed."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

import torch

from duda.checks import check_count, plain_number
from duda.likelihoods import TargetScale
from duda.training.descriptions import described
from duda.training.optimizers import OptimizerFactory
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
    target_scale: TargetScale | Literal["auto"] | None = "auto"
    start: int = field(init=False)

    def __post_init__(self) -> None:
        self.epochs = check_count(self.epochs, "epochs")
        self.batch_size = check_count(self.batch_size, "batch_size")
        if self.patience is not None:
            self.patience = check_count(self.patience, "patience")
        if not isinstance(self.drop_last, bool):
            raise TypeError(f"`drop_last` is {self.drop_last!r}, expected True or False.")
        scale = self.target_scale
        if not (scale is None or scale == "auto" or isinstance(scale, TargetScale)):
            raise TypeError(
                f"`target_scale` is {scale!r}, expected 'auto', None, or a `duda.TargetScale`."
            )
        self.start = new_seed(self.seed)

    def settings(self) -> dict[str, Any]:
        """Return as JSON values what must be the same for a run to go on."""
        names = [each.name for each in fields(self) if each.init]
        return {name: described(getattr(self, name), name) for name in names} | {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "optimizer": described(self.optimizer or torch.optim.Adam, "optimizer"),
            "lr": plain_number(self.lr),
            "seed": None if self.seed is None else self.start,
        }
