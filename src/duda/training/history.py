"""History of a training: figures for each member and epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["History", "Record"]


@dataclass(frozen=True, eq=False, repr=False)
class History:
    """Losses in nats and seconds, of M members over E epochs; NaN after a member has stopped.

    Losses are those of targets in their own units, but for the pinball losses of `Quantiles` and
    the weighted ones of `BetaGaussian` in training: these are of the outputs' units.

    Attributes:
        losses: mean training loss of each epoch, taken while the weights changed.
        validation_losses: mean `validation_loss` after each epoch, that of predictions and without
            penalties, or None without validation.
        seconds: of each epoch; members that train as one step share its time equally.
        best_epochs: the epoch, counted from 1, whose weights the member has now.
        seed: what `fit(..., seed=)` needs to do the same again.
        vectorized: whether the members trained as one vectorized step.
        metrics: those of the predictions for the validation data, by name, as they were asked for.
        skipped: how many steps of each were left out, as they overflowed in float16.
    """

    losses: Float[Tensor, "M E"]
    validation_losses: Float[Tensor, "M E"] | None
    seconds: Float[Tensor, "M E"]
    best_epochs: list[int]
    seed: int
    vectorized: bool
    metrics: Mapping[str, Float[Tensor, "M E"]] = field(default_factory=dict)
    skipped: list[int] = field(default_factory=list)

    def __repr__(self) -> str:
        members, epochs = self.losses.shape
        of = "" if members == 1 else f"{members} members, "
        name = "losses" if self.validation_losses is None else "validation_losses"
        best = [
            getattr(self, name)[member, epoch - 1].item()
            for member, epoch in enumerate(self.best_epochs)
        ]
        return f"History({of}{epochs} epochs, {name} {min(best):.4g} to {max(best):.4g})"


@dataclass
class Record:
    """A member's figures so far, and whether it goes on."""

    losses: list[float] = field(default_factory=list)
    validation_losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    best_epoch: int = 0
    skipped: int = 0
    stopped: bool = False

    def add(
        self,
        loss: float,
        validation: float | None,
        seconds: float,
        metrics: Mapping[str, float] = MappingProxyType({}),
    ) -> bool:
        """Take in an epoch's figures, and return whether its weights are the best so far."""
        improved = True  # without validation the last weights count
        if validation is not None:
            improved = validation < min(self.validation_losses, default=math.inf)
            self.validation_losses.append(validation)
        for name, value in metrics.items():
            self.metrics.setdefault(name, []).append(value)
        self.losses.append(loss)
        self.seconds.append(seconds)
        if improved:
            self.best_epoch = len(self.losses)
        return improved

    def stop_if_due(self, epochs: int, patience: int | None) -> None:
        """Stop after the last epoch, or after `patience` of them without a better one."""
        waited = len(self.losses) - self.best_epoch
        self.stopped = len(self.losses) >= epochs or (patience is not None and waited >= patience)

    def state(self) -> dict[str, Any]:
        """Return the figures as numbers and lists."""
        return asdict(self)


def history_of(records: Sequence[Record], seed: int, vectorized: bool) -> History:
    """Return the figures of all members as one history."""
    validated = bool(records[0].validation_losses)
    return History(
        losses=_padded([record.losses for record in records]),
        validation_losses=_padded([r.validation_losses for r in records]) if validated else None,
        seconds=_padded([record.seconds for record in records]),
        best_epochs=[record.best_epoch for record in records],
        seed=seed,
        vectorized=vectorized,
        metrics={
            name: _padded([record.metrics[name] for record in records])
            for name in records[0].metrics
        },
        skipped=[record.skipped for record in records],
    )


def _padded(rows: list[list[float]]) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor(
        [row + [math.nan] * (longest - len(row)) for row in rows], dtype=torch.float64
    )
