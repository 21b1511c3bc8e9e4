"""Rows of class probabilities and labels, a block at a time: metrics need memory for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_whole
from duda.devices import on_exact_device
from duda.inputs import hard_labels, label_shares
from duda.predictions.given import ClassesGiven, class_arrays, class_labels_given
from duda.probabilities import check_logits, check_probs, log_probs_from

__all__ = ["Kind", "LabelledRows", "Rows", "check_kind"]

Kind = Literal["top", "class", "binary"]

_NUMBERS_IN_A_BLOCK = 2**18  # about what the caches of a processor hold
_ELSEWHERE = 2**24  # 128 MiB in float64, so that a launch costs next to nothing
_OF_NUMBERS = "`evaluation.rmse`, `crps`, `density_nll`, `coverage` or `pit`"


@dataclass(frozen=True, eq=False)
class Rows:
    """A block of n examples or positions.

    Args:
        values: `(n, C)`, probabilities as they came, or log-probabilities in float64.
        target: `(n)`, labels, or `(n, C)`, shares of votes in float64.
        in_logs: whether `values` are log-probabilities.
    """

    values: Float[Tensor, "n C"]
    target: Int[Tensor, "n"] | Float[Tensor, "n C"]
    in_logs: bool

    @property
    def are_votes(self) -> bool:
        """Whether the target is shares of votes."""
        return self.target.ndim == 2

    @property
    def probs(self) -> Float[Tensor, "n C"]:
        """The probabilities."""
        return self.values.exp() if self.in_logs else self.values

    def shares(self) -> Float[Tensor, "n C"]:
        """Return each class's share of the votes: zeros and a one for a label."""
        if self.are_votes:
            return self.target
        zeros = torch.zeros_like(self.values, dtype=torch.float64)
        return zeros.scatter_(1, self.target.unsqueeze(1), 1.0)

    def hits(self) -> Bool[Tensor, "n"]:
        """Return whether the most probable class, the first among equals, is the label."""
        return self.values.argmax(1) == self.target

    def log_losses(self) -> Float[Tensor, "n"]:
        """Return the negative log-likelihood of each target, in nats."""
        if not self.are_votes:
            return -self._logs(self.values.gather(1, self.target.unsqueeze(1))).squeeze(1)
        # A class without votes adds nothing, also where its log-probability is -inf.
        return torch.where(self.target > 0, -self.target * self._logs(self.values), 0.0).sum(1)

    def squared_distances(self) -> Float[Tensor, "n"]:
        """Return the squared distance to each target, a sum over classes."""
        return (self.probs.double() - self.shares()).square_().sum(1)

    def ranked_distances(self) -> Float[Tensor, "n"]:
        """Return the squared distance of cumulated probabilities to each target, over classes."""
        distances = (self.probs.double() - self.shares()).cumsum(1)
        return distances[:, :-1].square_().sum(1)

    def claims(
        self, kind: Literal["top", "binary"]
    ) -> tuple[Float[Tensor, "n"], Shaped[Tensor, "n"]]:
        """Return the confidence in one claim for each row, and how far it came true.

        The claim is the most probable class, or that of class 1 for `"binary"`. It came true or
        not, or for so large a share of the votes.
        """
        if kind == "binary":
            return self.probs[:, 1], self.target[:, 1] if self.are_votes else self.target == 1
        confidence, first = self.probs.max(1)
        if self.are_votes:
            return confidence, self.target.gather(1, first.unsqueeze(1)).squeeze(1)
        return confidence, first == self.target

    def _logs(self, values: Tensor) -> Tensor:
        return values if self.in_logs else values.double().log()


class LabelledRows:
    """Checked predictions and labels `(N, C, *positions)`, which can be gone through in blocks.

    Positions whose label is `ignore_index` are no rows; their probabilities must be sound. Labels
    go to the device of the predictions.

    Raises:
        TypeError: if `y` is missing, both or neither of `probs` and `logits` are given, or a
            prediction is not of classes.
        ValueError: if shapes differ, a label is no class, probabilities are none, there is NaN, or
            nothing is left.
    """

    def __init__(
        self,
        probs: ClassesGiven,
        y: ArrayLike | None,
        logits: ArrayLike | None,
        ignore_index: int | None,
        *,
        votes: bool = True,
        may_be_empty: bool = False,
    ) -> None:
        y = class_labels_given(probs, y)
        probs, logits = class_arrays(probs, logits, _OF_NUMBERS)
        self._from_logits = logits is not None
        if logits is not None:
            self._values = on_exact_device(as_tensor(logits, "logits"))
            check_logits(self._values)
        else:
            self._values = check_probs(on_exact_device(as_tensor(probs, "probs")))  # type: ignore[arg-type]
        self._ignore_index = None
        if ignore_index is not None:
            self._ignore_index = check_whole(ignore_index, "ignore_index")
        self._target = self._checked_target(y, votes)
        if ignore_index is not None and not may_be_empty:
            self._check_some_left(ignore_index)

    @property
    def device(self) -> torch.device:
        """Where the rows are: that of the predictions."""
        return self._values.device

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return self._values.shape[1]

    @property
    def are_votes(self) -> bool:
        """Whether the labels are shares of votes."""
        return self._target.is_floating_point()

    def __iter__(self) -> Iterator[Rows]:
        numbers = _NUMBERS_IN_A_BLOCK if self.device.type == "cpu" else _ELSEWHERE
        size = max(1, numbers // self._values[0].numel())
        for start in range(0, len(self._values), size):
            values, target = (part[start : start + size] for part in (self._values, self._target))
            values, target = _flat(values), _flat(target) if self.are_votes else target.flatten()
            if self._ignore_index is not None:
                kept = self._known(target)
                values, target = values[kept], target[kept]
            if len(values) and self._from_logits:
                values = log_probs_from(None, values.double())
            if len(values):
                yield Rows(values, target, self._from_logits)

    def total(self, losses: Callable[[Rows], Tensor]) -> tuple[float, int]:
        """Return the sum of the losses of all rows, and how many there are."""
        total, count = torch.zeros((), dtype=torch.float64, device=self.device), 0
        for rows in self:
            total += losses(rows).sum(dtype=torch.float64)
            count += len(rows.values)
        return float(total), count

    def _known(self, target: Tensor) -> Bool[Tensor, "n *rest"]:
        """Return which targets are known: votes that are not all 0, other labels than the index."""
        return (target != 0).any(1) if self.are_votes else target.ne(self._ignore_index or 0)

    def _check_some_left(self, ignore_index: int) -> None:
        if not bool(self._known(self._target).any()):
            raise ValueError(
                f"`y` is `ignore_index` {ignore_index} everywhere, expected at least one other "
                "label."
            )

    def _checked_target(self, y: ArrayLike | None, votes: bool) -> Tensor:
        shape = tuple(self._values.shape)
        if y is None:
            raise TypeError("`y` is missing: give the labels to compare with.")
        target = as_tensor(y, "y")
        soft = target.is_floating_point() or tuple(target.shape) == shape
        if not votes or not soft:
            return hard_labels(target, shape, self._ignore_index, device=self.device)
        return label_shares(target, shape, self.device, may_be_zero=self._ignore_index is not None)


def check_kind(kind: str, known: tuple[str, ...], classes: int) -> None:
    """Raise a `ValueError` unless `kind` is `known`, and `"binary"` only of two classes."""
    if kind not in known:
        raise ValueError(f"`kind` is {kind!r}, expected {' or '.join(map(repr, known))}.")
    if kind == "binary" and classes != 2:
        raise ValueError(
            f"`kind` is 'binary' and the predictions have {classes} classes, expected 2: call it "
            "with 'top'."
        )


def _flat(values: Tensor) -> Tensor:
    """Return `(n, C, *positions)` as `(n * positions, C)`."""
    return values if values.ndim == 2 else values.flatten(2).transpose(1, 2).flatten(0, 1)
