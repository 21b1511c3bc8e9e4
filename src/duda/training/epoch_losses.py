"""Losses of an epoch: they stay on their device, and are read for many steps at once."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from duda.doubts import Doubts, at_once, certain
from duda.written import Copies

if TYPE_CHECKING:
    from duda.training.trainer import Trainer

__all__ = ["EpochLosses"]

# A training that is broken stops after so many steps, or seconds, whichever comes first.
_STEPS = 64
_SECONDS = 5.0


class EpochLosses:
    """Sums up the losses of an epoch's steps, and stops the training where one is not finite.

    Weights that are ruined before anybody looks are put back as they were at the last look.

    Args:
        trainer: whose members' losses they are.
        epoch: counted from 1.
        known: whether the data are checked already, as tensors are before a training.
        each_step: whether to look at each step, as somebody is told of it.
    """

    def __init__(self, trainer: Trainer, epoch: int, *, known: bool, each_step: bool) -> None:
        self.trainer, self.epoch, self.known, self.each_step = trainer, epoch, known, each_step
        self.going = [not record.stopped for record in trainer.records]
        self.totals, self.count, self.batch = [0.0] * len(self.going), 0, 0
        self._scaled = trainer.updates.scaling is not None  # who leaves out what overflows
        self._left_out = 0
        self.last: list[float] = []
        self._doubts = Doubts()
        self._unread: list[tuple[Tensor, int]] = []
        self._copies: Copies | None = None
        self._copied_at = 0
        self._looked = time.monotonic()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch the steps of an epoch; what was wrong before an error is raised in its place."""
        try:
            with self._doubts.gathered():
                yield
        except BaseException as error:
            try:
                self._look(made=True)
            except (ValueError, FloatingPointError) as reason:
                if isinstance(error, Exception):
                    raise reason from error
            raise
        ruined = self._look(made=True, also=self.trainer.ruined_weights())
        self.trainer.ruined = [bool(each) for each in ruined]

    def data_checked(self) -> AbstractContextManager[None]:
        """Check data and outputs of a training's first step at once, and of others as is due."""
        if self.trainer.first_step:
            return at_once()
        return certain() if self.known else nullcontext()

    def add(self, losses: Tensor, examples: int) -> None:
        """Take in the members' losses on a batch, before the step that follows from them.

        Raises:
            FloatingPointError: if a loss is found that is not finite.
            ValueError: if data are found that are wrong.
        """
        self.batch += 1
        self._unread.append((losses.detach(), examples))
        late = time.monotonic() - self._looked > _SECONDS
        if self.each_step or self.trainer.first_step or late or len(self._unread) == _STEPS:
            self._look(made=False)
        elif self._copies is None:
            self._copies = Copies(self.trainer.values().values())
            self._copied_at = self.batch
        self.trainer.first_step = False

    def means(self) -> list[float]:
        """Return each member's mean loss over the examples of the epoch, whose steps were made."""
        count = self.count - self._left_out
        return [total / count if count else math.inf for total in self.totals]

    def _look(self, made: bool, also: Tensor | None = None) -> list[float]:
        """Read all that is unread, with other numbers, which are returned.

        Args:
            made: whether the step of the last batch has been made.
            also: these numbers.
        """
        unread, self._unread = self._unread, []
        numbers = [torch.stack([losses for losses, _ in unread])] if unread else []
        try:
            read = self._doubts.settle([*numbers, *([] if also is None else [also])])
            members = len(self.going)
            for place, (_, examples) in enumerate(unread):
                self.last = read[place * members : (place + 1) * members]
                self.count += examples
                if self._scaled and not all(map(math.isfinite, self.last)):
                    self._left_out += examples
                    continue
                self._check(self.batch - len(unread) + place + 1, made)
                self.totals = [
                    t + v * examples for t, v in zip(self.totals, self.last, strict=True)
                ]
        except (ValueError, FloatingPointError):
            if self._copies is not None:
                self._copies.put_back()
            raise
        self._copies, self._looked = None, time.monotonic()
        return read[len(unread) * members :]

    def _check(self, batch: int, made: bool) -> None:
        """Raise a `FloatingPointError` if the loss of a member is not finite."""
        for member, (value, goes) in enumerate(zip(self.last, self.going, strict=True)):
            if goes and not math.isfinite(value):
                still = self._copies is None or self._copied_at == batch
                left = "that batch" if still else f"batch {self._copied_at}"
                raise FloatingPointError(
                    f"the loss is {value} in epoch {self.epoch}, batch {batch} of member "
                    f"{self.trainer.first + member + 1} (counted from 1): lower `lr`, or look for "
                    f"extreme inputs; the weights are left as before {left}."
                )
