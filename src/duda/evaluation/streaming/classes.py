"""Metrics of classes over batches and processes, equal to those over all examples at once."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from duda.checks import ArrayLike, check_count
from duda.evaluation.bins import Binning, Bins, is_uniform
from duda.evaluation.calibration import Reliability
from duda.evaluation.confusion import Confusion, confused
from duda.evaluation.rows import Kind, LabelledRows, Rows, check_kind
from duda.predictions.given import ClassesGiven

__all__ = [
    "StreamingAccuracy",
    "StreamingBrier",
    "StreamingIoU",
    "StreamingNLL",
    "StreamingReliability",
]


class _OfClasses(Metric):
    """Sums over blocks of rows, whose states add up over batches and processes."""

    full_state_update = False
    takes_votes = True

    def __init__(self, ignore_index: int | None, options: dict[str, Any]) -> None:
        super().__init__(**options)
        self.ignore_index = ignore_index

    def update(
        self,
        probs: ClassesGiven = None,
        y: ArrayLike | None = None,
        *,
        logits: ArrayLike | None = None,
    ) -> None:
        """Count a batch; its labels may all be `ignore_index`.

        Args:
            probs: a prediction, or `(N, C, *positions)`; every position counts as an example.
            y: integer labels `(N, *positions)`, or shares of votes in the shape of `probs`.
            logits: in place of `probs`.
        """
        rows = LabelledRows(
            probs, y, logits, self.ignore_index, votes=self.takes_votes, may_be_empty=True
        )
        self._check(rows)
        for block in rows:
            self._count(block)

    @abstractmethod
    def _count(self, rows: Rows) -> None:
        """Add a block to the states."""

    def _check(self, rows: LabelledRows) -> None:
        """Raise a `ValueError` if the batch does not fit the states."""

    def _start(self, name: str, zeros: Tensor) -> None:
        self.add_state(name, zeros, dist_reduce_fx="sum")

    def _add(self, name: str, value: Tensor | int) -> None:
        state = getattr(self, name)
        state += value.to(state.device) if isinstance(value, Tensor) else value


class StreamingReliability(_OfClasses):
    """`reliability` over batches and processes, with a state of four numbers for each bin.

    `compute` is the ECE, and `result` all that `reliability` finds.

    Args:
        bins: how many, of equal width.
        binning: only `"uniform"`: quantiles need all examples at once.
        kind: the claim: the most probable class, every class, or class 1 of two.
        classes: how many there are, for `kind="class"`.
        ignore_index: the label of positions to leave out.
        options: those of every `torchmetrics.Metric`, such as `process_group`.

    >>> metric = StreamingReliability(bins=10)
    >>> metric.update([[0.85, 0.15]], [0])
    >>> metric.update([[0.15, 0.85]], [0])
    >>> metric.compute()
    tensor(0.3500, dtype=torch.float64)
    """

    higher_is_better = False
    counts: Tensor
    hits: Tensor
    confidence_sums: Tensor
    null_variances: Tensor
    votes: Tensor

    def __init__(
        self,
        bins: int = 15,
        *,
        binning: Binning = "uniform",
        kind: Kind = "top",
        classes: int | None = None,
        ignore_index: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(ignore_index, options)
        if not is_uniform(binning):
            raise ValueError(
                "`binning` is 'quantile', expected 'uniform': quantiles need all examples at once, "
                "so call `reliability` on them."
            )
        if (kind == "class") != (classes is not None):
            raise ValueError(
                f"`kind` is {kind!r} and `classes` is {classes!r}, expected how many there are "
                "for 'class', and else None."
            )
        self.kind, self.classes = kind, classes
        self.bins = check_count(bins, "bins")
        shape = (bins,) if classes is None else (check_count(classes, "classes"), bins)
        self._start("counts", torch.zeros(shape, dtype=torch.int64))
        # In float64, exact for labels up to 2^53, since votes may follow them.
        self._start("hits", torch.zeros(shape, dtype=torch.float64))
        self._start("confidence_sums", torch.zeros(shape, dtype=torch.float64))
        self._start("null_variances", torch.zeros(shape, dtype=torch.float64))
        self._start("votes", torch.tensor(0))

    def compute(self) -> Tensor:
        """Return the expected calibration error, a float64 scalar."""
        return torch.tensor(self._found().ece, dtype=torch.float64)

    def result(self) -> Reliability:
        """Return what `reliability` finds over all examples of all processes."""
        with self.sync_context(self.dist_sync_fn, should_sync=self.sync_on_compute):
            return self._found()

    def _found(self) -> Reliability:
        _check_some(int(self.counts.sum()))
        hits = self.hits if int(self.votes) else self.hits.long()
        states = (self.counts, hits, self.confidence_sums, self.null_variances)
        edges = Bins.of_equal_width(self.bins).edges
        return Reliability(edges, *(state.cpu().clone() for state in states))

    def _check(self, rows: LabelledRows) -> None:
        check_kind(self.kind, ("top", "class", "binary"), rows.classes)
        if self.classes is not None:
            _check_classes(self.classes, rows)

    def _count(self, rows: Rows) -> None:
        scale = Bins.of_equal_width(self.bins, rows.values.device)
        counts, hits, sums, variances = scale.tally(rows, self.kind)
        self._add("counts", counts)
        self._add("hits", hits)
        self._add("confidence_sums", sums)
        self._add("null_variances", variances)
        self._add("votes", len(rows.target) if rows.are_votes else 0)


class StreamingIoU(_OfClasses):
    """`confusion` over batches and processes: `compute` is the mean IoU, `result` everything.

    Args:
        classes: how many there are.
        ignore_index: the label of positions to leave out.
        options: those of every `torchmetrics.Metric`, such as `process_group`.

    >>> metric = StreamingIoU(2)
    >>> metric.update([[0.7, 0.3], [0.4, 0.6], [0.2, 0.8]], [0, 0, 1])
    >>> metric.compute()
    tensor(0.5000, dtype=torch.float64)
    """

    higher_is_better = True
    takes_votes = False
    matrix: Tensor

    def __init__(self, classes: int, *, ignore_index: int | None = None, **options: Any) -> None:
        super().__init__(ignore_index, options)
        self.classes = check_count(classes, "classes")
        self._start("matrix", torch.zeros(classes, classes, dtype=torch.int64))

    def compute(self) -> Tensor:
        """Return the mean IoU, a float64 scalar."""
        return torch.tensor(self._found().mean_iou, dtype=torch.float64)

    def result(self) -> Confusion:
        """Return what `confusion` finds over all examples of all processes."""
        with self.sync_context(self.dist_sync_fn, should_sync=self.sync_on_compute):
            return self._found()

    def _found(self) -> Confusion:
        _check_some(int(self.matrix.sum()))
        return Confusion(self.matrix.cpu().clone())

    def _check(self, rows: LabelledRows) -> None:
        _check_classes(self.classes, rows)

    def _count(self, rows: Rows) -> None:
        self._add("matrix", confused(rows))


class _Mean(_OfClasses):
    total: Tensor
    count: Tensor

    def __init__(self, *, ignore_index: int | None = None, **options: Any) -> None:
        super().__init__(ignore_index, options)
        self._start("total", torch.tensor(0.0, dtype=torch.float64))
        self._start("count", torch.tensor(0))

    def compute(self) -> Tensor:
        """Return the mean over all examples, a float64 scalar."""
        _check_some(int(self.count))
        return self.total / self.count

    def _count(self, rows: Rows) -> None:
        self._add("total", self._losses(rows).sum(dtype=torch.float64))
        self._add("count", len(rows.target))

    @abstractmethod
    def _losses(self, rows: Rows) -> Tensor:
        """Return a number for each row."""


class StreamingAccuracy(_Mean):
    """`accuracy` over batches and processes.

    >>> metric = StreamingAccuracy()
    >>> metric.update([[0.7, 0.3], [0.4, 0.6]], [0, 0])
    >>> metric.compute()
    tensor(0.5000, dtype=torch.float64)
    """

    higher_is_better = True
    takes_votes = False

    def _losses(self, rows: Rows) -> Tensor:
        return rows.hits()


class StreamingNLL(_Mean):
    """`nll` over batches and processes.

    >>> metric = StreamingNLL()
    >>> metric.update(y=[0, 1], logits=[[0.0, 0.0], [0.0, 0.0]])
    >>> metric.compute()
    tensor(0.6931, dtype=torch.float64)
    """

    higher_is_better = False

    def _losses(self, rows: Rows) -> Tensor:
        return rows.log_losses()


class StreamingBrier(_Mean):
    """`brier` over batches and processes.

    >>> metric = StreamingBrier()
    >>> metric.update([[1.0, 0.0], [1.0, 0.0]], [0, 1])
    >>> metric.compute()
    tensor(1., dtype=torch.float64)
    """

    higher_is_better = False

    def _losses(self, rows: Rows) -> Tensor:
        return rows.squared_distances()


def _check_some(count: int) -> None:
    if count == 0:
        raise ValueError("there are 0 labelled examples, expected some: call `update` first.")


def _check_classes(classes: int, rows: LabelledRows) -> None:
    if rows.classes != classes:
        raise ValueError(
            f"the predictions have {rows.classes} classes, expected `classes`, which is {classes}."
        )
