"""Metrics of numbers over batches and processes, equal to those over all targets at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from duda.checks import ArrayLike, check_count
from duda.evaluation.pit import Pit, tally
from duda.predictions.given import NumbersGiven

__all__ = ["StreamingPit"]


class StreamingPit(Metric):
    """`pit` over batches and processes, with a state of two counts for each bin.

    `compute` is the mean calibration error, and `result` all that `pit` finds. What is drawn for
    counts has another seed in each batch.

    Args:
        bins: how fine [0, 1] is divided; an even number, for levels down to 0.
        options: those of every `torchmetrics.Metric`, such as `process_group`.

    >>> metric = StreamingPit(bins=4)
    >>> metric.update([0.0], [-1.0], std=[1.0])
    >>> metric.update([0.0], [2.0], std=[1.0])
    >>> metric.result().one_sided.inside
    tensor([0, 1, 1, 1, 2])
    """

    full_state_update = False
    higher_is_better = False
    counts: Tensor

    def __init__(self, bins: int = 200, **options: Any) -> None:
        super().__init__(**options)
        self.bins = check_count(bins, "bins")
        self.add_state("counts", torch.zeros(2 * bins + 1, dtype=torch.int64), "sum")

    def update(
        self,
        prediction: NumbersGiven,
        y: ArrayLike,
        *,
        std: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ) -> None:
        """Count a batch; its `mask` may be False everywhere.

        Args:
            prediction: of numbers, with a distribution function; or means, of Gaussians.
            y: of the shape of `prediction.centre`, or of the means.
            std: one for each of the means.
            mask: of `y`'s shape: which targets count.
        """
        found = tally(prediction, y, std, self.bins, mask, self.update_count, may_be_empty=True)
        self.counts += found.to(self.counts.device)

    def compute(self) -> Tensor:
        """Return the mean error of coverage over all levels, a float64 scalar."""
        return torch.tensor(self._found().coverage.mean_error, dtype=torch.float64)

    def result(self) -> Pit:
        """Return what `pit` finds over all targets of all processes."""
        with self.sync_context(self.dist_sync_fn, should_sync=self.sync_on_compute):
            return self._found()

    def _found(self) -> Pit:
        if not bool(self.counts.any()):
            raise ValueError("there are 0 targets, expected some: call `update` first.")
        return Pit(self.counts.cpu().clone())
