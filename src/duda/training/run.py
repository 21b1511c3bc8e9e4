"""Training run: trainers that have their turn, early stopping, and the file that remembers all."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from duda.batches import Batch
from duda.hooks import FitState
from duda.methods import UncertainModel
from duda.path_lock import path_lock
from duda.progress import Bar
from duda.sampling import seeded
from duda.training.callbacks import Audience
from duda.training.checkpoint import Checkpoint
from duda.training.data import LoaderData, TensorData
from duda.training.history import Record
from duda.training.metrics import measured
from duda.training.options import Options
from duda.training.seeds import epoch_seed
from duda.training.trainer import Trainer

__all__ = ["Run"]


@dataclass
class Run:
    """Trainers that have their turn one after the other, and what they all share."""

    model: UncertainModel
    trainers: Sequence[Trainer]
    data: TensorData | LoaderData
    validation: TensorData | LoaderData | None
    options: Options
    audience: Audience
    checkpoint: Checkpoint | None = None
    metrics: Mapping[str, Callable[[Any, Tensor], Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.seed = self.options.start  # a checkpoint may bring its own
        self.epochs = self.options.most_epochs(self.data)
        self.device = next(self.model.parameters()).device

    def train(self) -> list[Record]:
        """Train until every member has stopped, and return their figures."""
        with nullcontext() if self.checkpoint is None else path_lock(self.checkpoint.path):
            try:
                self._start()
                self._train()
                self.model.eval()
                self.audience.tell("on_fit_end", self._state())
            finally:
                for trainer in self.trainers:
                    trainer.forget_epoch()
        return [record for trainer in self.trainers for record in trainer.records]

    def _start(self) -> None:
        """Tell all that training starts, and take up what the checkpoint holds.

        A new one is written before training, to learn whether that works.
        """
        state = None if self.checkpoint is None else self.checkpoint.load()
        with seeded(self.seed, []):
            self.audience.tell("on_fit_start", self._state())
        if self.checkpoint is None or state is None:
            self._save()
            return
        with self.checkpoint.taken_up():
            self.seed = state["seed"]
            for trainer, part in zip(self.trainers, state["trainers"], strict=True):
                trainer.load(part)
            self.audience.load(state["callbacks"])

    def _state(self, epoch: int = 0) -> FitState:
        """Return what hooks are told of the whole training."""
        return FitState(
            epoch=epoch,
            epochs=self.epochs,
            examples=self._examples(),
            steps=self.data.batches(),
            places=self.data.places(),
            model=self.model,
            batches=self._in_order,
            validation=None if self.validation is None else self.validation.in_order,
            target_scale=self.options.target_scale,
        )

    def _in_order(self) -> Iterator[tuple[Batch, Tensor]]:
        """Return the training batches: of a stream without a length as many as steps can take."""
        batches, steps = self.data.in_order(), self.options.steps
        if steps is None or self.data.batches() is not None:
            return batches
        return islice(batches, steps * self.options.training.accumulate)

    def _examples(self) -> int | None:
        """Return how many examples an epoch brings: as counted, by whom has had one last."""
        counted = [trainer.examples for trainer in self.trainers if trainer.examples is not None]
        return counted[-1] if counted else self.data.examples()

    def _train(self) -> None:
        batches = self.data.batches()
        total = None if batches is None else batches * self.epochs * len(self.trainers)
        with torch.enable_grad(), Bar("fit", total) as bar:
            for turn, trainer in enumerate(self.trainers):
                try:
                    while not all(record.stopped for record in trainer.records):
                        self._epoch(trainer, turn, bar)
                finally:
                    trainer.write_back()

    def _epoch(self, trainer: Trainer, turn: int, bar: Bar) -> None:
        epoch = 1 + max(len(record.losses) for record in trainer.records)
        going = [not record.stopped for record in trainer.records]
        before = (turn * self.epochs + epoch - 1) * (self.data.batches() or 0)
        start = time.perf_counter()
        devices = [self.device] if self.device.type == "cuda" else []
        # Validation and callbacks draw after training, so that one seed serves all.
        with seeded(epoch_seed(self.seed, trainer.first, epoch), devices):
            state = self._state(epoch - 1)
            losses = trainer.train(
                self.data, self.seed, state, self.audience, lambda batch: bar.update(before + batch)
            )
            self._check_weights(trainer, going, epoch)
            trainer.tell(lambda told: told.model.on_epoch_end(told), trainer.states(state, losses))
            validations: list[float] | None = None
            metrics: list[dict[str, float]] = [{} for _ in going]
            with trainer.judged():
                if self.validation is not None:
                    validations = trainer.validate(self.validation)
                    self._check_validation(validations, trainer, going, epoch)
                    metrics = self._measured(trainer, going)
                told = trainer.states(state, losses, validations, metrics)
                trainer.tell(self.audience.show, told)
        seconds = (time.perf_counter() - start) / sum(going)
        self._record(trainer, losses, validations, metrics, seconds)
        member = f"member {turn + 1} of {len(self.trainers)}, " if len(self.trainers) > 1 else ""
        bar.note(f"{member}epoch {epoch}, {_figures(losses, validations, metrics, going)}")
        self._save()

    def _measured(self, trainer: Trainer, going: list[bool]) -> list[dict[str, float]]:
        """Return the metrics of each member that goes on, by the values by which it is judged."""
        if self.validation is None or not self.metrics:
            return [{} for _ in going]
        trainer.write_back()
        with torch.no_grad():
            return [
                measured(part, self.validation, self.metrics) if goes else {}
                for part, goes in zip(trainer.parts, going, strict=True)
            ]

    def _record(
        self,
        trainer: Trainer,
        losses: list[float],
        validations: list[float] | None,
        metrics: list[dict[str, float]],
        seconds: float,
    ) -> None:
        """Take in an epoch's figures: keep the weights that are best, stop who is to stop."""
        improved = [False] * len(losses)
        for i, record in enumerate(trainer.records):
            if not record.stopped:
                validation = None if validations is None else validations[i]
                improved[i] = record.add(losses[i], validation, seconds, metrics[i])
                record.stop_if_due(self.epochs, self.options.patience)
                record.stopped |= trainer.updates.over
                record.skipped = trainer.updates.skipped
        if validations is not None:
            trainer.remember(improved)
        if all(record.stopped for record in trainer.records):
            trainer.finish()

    def _save(self) -> None:
        if self.checkpoint is not None:
            states = [trainer.state() for trainer in self.trainers]
            self.checkpoint.save(
                {"seed": self.seed, "trainers": states, "callbacks": self.audience.state()}
            )

    def _check_weights(self, trainer: Trainer, going: list[bool], epoch: int) -> None:
        for i, (goes, ruined) in enumerate(zip(going, trainer.ruined, strict=True)):
            if goes and ruined:
                raise FloatingPointError(
                    f"weights of member {trainer.first + i + 1} became NaN or infinite in epoch "
                    f"{epoch} (counted from 1): lower `lr`; the weights are left as they are."
                )

    def _check_validation(
        self,
        values: list[float],
        trainer: Trainer,
        going: list[bool],
        epoch: int,
    ) -> None:
        for i, (goes, value) in enumerate(zip(going, values, strict=True)):
            if goes and not math.isfinite(value):
                raise FloatingPointError(
                    f"the validation loss of member {trainer.first + i + 1} is {value} after epoch "
                    f"{epoch} (counted from 1): lower `lr`; the weights are left as they are."
                )


def _figures(
    losses: list[float],
    validations: list[float] | None,
    metrics: list[dict[str, float]],
    going: list[bool],
) -> str:
    """Return the mean losses and metrics of the members that have not stopped."""
    figures = {"loss": losses, "validation loss": validations or []}
    now = {
        name: [value for value, goes in zip(values, going, strict=True) if goes]
        for name, values in figures.items()
        if values
    }
    measured = [each for each in metrics if each]
    now |= {name: [each[name] for each in measured] for name in (measured or [{}])[0]}
    return ", ".join(f"{name} {sum(values) / len(values):.4g}" for name, values in now.items())
