"""Training dynamics of each example: a recorder whose memory does not grow with the epochs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from duda.checks import ArrayLike, check_count
from duda.difficulty.measures import checked_index, checked_loss, class_measures
from duda.difficulty.scores import HIGH_IS_HARD, ExampleScores
from duda.difficulty.table import Table
from duda.hooks import FitState
from duda.storage import Format, holding

__all__ = ["TrainingDynamics"]

_FORMAT = Format("training dynamics")


class TrainingDynamics(ExampleScores):
    """Scores of the n training examples, from what the model says of them epoch after epoch.

    Give it to `duda.fit(..., callbacks=[dynamics])`, or call `update` for each batch and
    `end_epoch` after each epoch of a loop of your own. An example that is missing in an epoch keeps
    what it has. Scores are `(n,)` in float64, NaN for examples never seen; of several members, the
    mean of their scores. Memory: about 75 bytes for each example and member.

    Args:
        n: how many training examples there are.
        ignore_index: the label of positions that do not count, as in `duda.Categorical`.
        el2n_epoch: the epoch, counted from 1, that `el2n` is of; by default the latest.

    >>> dynamics = TrainingDynamics(3)
    >>> for logits in ([[2.0, 0.0], [0.0, 0.0], [3.0, 0.0]], [[3.0, 0.0], [1.0, 0.0], [4.0, 0.0]]):
    ...     dynamics.update([0, 1, 2], logits, [0, 0, 1])
    ...     dynamics.end_epoch()
    >>> dynamics.aum, dynamics.hardest(1)
    (tensor([ 2.5000,  0.5000, -3.5000], dtype=torch.float64), tensor([2]))
    """

    def __init__(
        self, n: int, *, ignore_index: int | None = None, el2n_epoch: int | None = None
    ) -> None:
        if el2n_epoch is not None:
            el2n_epoch = check_count(el2n_epoch, "el2n_epoch")
        super().__init__(Table(check_count(n, "n")), el2n_epoch)
        self.n, self.ignore_index = self._table.n, ignore_index

    def update(
        self,
        index: ArrayLike,
        outputs: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        losses: Mapping[str, ArrayLike] | None = None,
        member: int = 0,
    ) -> None:
        """Take in a batch, or raise an error and leave all as it was.

        Args:
            index: int64 `(B,)`, the place of each example in the training data.
            outputs: logits `(B, C, *positions)`, or log-probabilities; positions are averaged.
            y: integer labels `(B, *positions)`. Regression and soft labels have `losses` only.
            losses: loss terms `(B,)` by name, such as a detector's `"class"` and `"box"`; by
                default `"loss"`, the cross-entropy of `outputs` in nats.
            member: which of several models, counted from 0.

        Raises:
            ValueError: if shapes differ, values are not finite, an index is no example's or comes
                twice in an epoch, or there are not the same kinds of values as before.
        """
        rows = checked_index(index, self.n)
        self._table.check_unseen(member, rows)
        if outputs is None and losses is None:
            raise TypeError("give `outputs` and `y`, or `losses=`, or all three.")
        found: dict[str, Tensor] = {}
        counted = torch.ones_like(rows, dtype=torch.bool)
        if outputs is not None:
            found, counted = class_measures(outputs, y, len(rows), self.ignore_index)
        if losses is None:
            terms = {"loss": found["loss"]}
        else:
            terms = {name: checked_loss(value, name, len(rows)) for name, value in losses.items()}
        self._check_kind(set(terms), outputs is not None)
        self._table.grow(member)
        rows = rows[counted]
        self._table.add(member, rows, {name: value[counted] for name, value in terms.items()})
        if outputs is not None:
            now = self.el2n_epoch in (None, self._table.epochs[member] + 1)
            found = {name: value[counted] for name, value in found.items()}
            self._table.add_classes(member, rows, found, keep_el2n=now)

    def end_epoch(self, member: int = 0) -> None:
        """Say that an epoch is over: each example may come again.

        Raises:
            ValueError: if nothing was recorded in it.
        """
        members = len(self._table.epochs)
        if not 0 <= member < members or not bool(self._table.values["seen"][member].any()):
            raise ValueError(
                f"`member` {member} has seen no example in this epoch: call `update` for each "
                "batch before `end_epoch`."
            )
        self._table.epochs[member] += 1
        self._table.values["seen"][member] = False

    def on_fit_start(self, state: FitState) -> None:
        """Raise a `ValueError` unless there are n examples."""
        found = state.examples if state.places is None else state.places
        if found != self.n:
            raise ValueError(
                f"`n` of a TrainingDynamics is {self.n}, but `data` has {found} examples: "
                f"make it as `TrainingDynamics({found})`."
            )

    def on_outputs(self, state: FitState) -> None:
        """Take in what the model says of some examples after an epoch."""
        seen = state.outputs
        if seen is not None:
            y = None if seen.log_probs is None else seen.y
            self.update(seen.index, seen.log_probs, y, losses=seen.losses, member=state.member)

    def on_epoch_end(self, state: FitState) -> None:
        """Take note that an epoch of a member is over."""
        self.end_epoch(state.member)

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of all that was recorded: dicts, lists, numbers and tensors."""
        return {"settings": self._settings(), **self._table.state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned, bit for bit.

        Raises:
            ValueError: if it is of a recorder with other arguments.
        """
        found = state.get("settings")
        if found != self._settings():
            raise ValueError(
                f"`state` is of a recorder with {found}, expected {self._settings()}: make it with "
                "the same arguments."
            )
        self._table.load(state)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write all that was recorded to one file, whole or not at all.

        Raises:
            OSError: if the file cannot be written.
        """
        return _FORMAT.write(path, type(self).__name__, self.state_dict())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote: a recorder that can go on.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is damaged or holds something else.
        """
        _, state = _FORMAT.read(path)
        with holding(path, cls.__name__):
            made = cls(**state["settings"])
            made.load_state_dict(state)
        return made

    def __repr__(self) -> str:
        epochs = self._table.epochs
        members = f"{len(epochs)} members, " if len(epochs) > 1 else ""
        return f"TrainingDynamics({self.n} examples, {members}{max(epochs, default=0)} epochs)"

    def _settings(self) -> dict[str, int | None]:
        return {name: getattr(self, name) for name in ("n", "ignore_index", "el2n_epoch")}

    def _check_kind(self, terms: set[str], classes: bool) -> None:
        """Raise a `ValueError` if a batch does not have what those before had."""
        table = self._table
        taken = sorted(terms & HIGH_IS_HARD.keys())
        if taken or not terms:
            raise ValueError(
                f"`losses` has the terms {sorted(terms)}, expected at least one, and none with the "
                f"name of a score ({', '.join(HIGH_IS_HARD)})."
            )
        if not table.epochs:
            table.start(terms, classes)
        if terms != table.losses.keys():
            raise ValueError(
                f"`losses` has the terms {sorted(terms)}, expected {sorted(table.losses)} as in "
                "the batches before."
            )
        if classes != table.has_classes:
            raise ValueError(
                f"`outputs` is {'given' if classes else 'missing'}, unlike in the batches before: "
                "give it always or never."
            )
