"""Prediction sets of classes, and their coverage beside what is guaranteed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_share
from duda.decisions.conformal.coverage import (
    GroupCoverage,
    GuaranteedCoverage,
    calibration_counts,
    covered_by_group,
)
from duda.fitted import Kept
from duda.inputs import flags, hard_labels
from duda.renamed import OldAttribute
from duda.shown import Shown
from duda.storage import Format

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PredictionSets", "SetSummary"]

_ROWS = 10  # of classes in a printed summary


@dataclass(frozen=True, eq=False, repr=False)
class PredictionSets(Shown, Kept):
    """A set of classes for each of N examples; an empty one says that no class fits.

    Sets of any program will do, as any arrays.

    Args:
        sets: `(N, C)`, whether the class is in the set: booleans, or 0 and 1.
        alpha: the share of sets that may miss the right class.
        calibration: `(1)`, on how many examples the threshold rests; of thresholds for each class
            `(C)`.

    Raises:
        ValueError: if shapes differ, or something is neither 0 nor 1.

    >>> found = PredictionSets([[1, 1], [0, 1]], alpha=0.1, calibration=99)
    >>> found.sizes, found.coverage([0, 0])
    (tensor([2, 1]), 0.5)
    """

    format = Format("prediction sets")
    sets: Bool[Tensor, "N C"]
    alpha: float
    calibration: Int[Tensor, "G"]

    def __post_init__(self) -> None:
        sets = as_tensor(self.sets, "sets")
        if sets.ndim != 2:
            raise ValueError(
                f"`sets` has shape {tuple(sets.shape)}, expected (N, C): for each example and "
                "class whether it is in the set."
            )
        calibration = calibration_counts(self.calibration, sets.shape[1], "class")
        object.__setattr__(self, "sets", flags(sets, "sets", sets, "itself"))
        object.__setattr__(self, "alpha", check_share(self.alpha, "alpha"))
        object.__setattr__(self, "calibration", calibration)

    def __len__(self) -> int:
        return len(self.sets)

    @property
    def sizes(self) -> Int[Tensor, "N"]:
        """How many classes are in each set."""
        return self.sets.sum(1)

    def coverage(self, y: ArrayLike, *, ignore_index: int | None = None) -> float:
        """Return the share of examples with the right class in the set, but for `ignore_index`.

        Raises:
            ValueError: if `y` has another length, or holds a label not in 0 to C - 1.
        """
        return self.summary(y, ignore_index=ignore_index).guaranteed.overall

    def summary(self, y: ArrayLike, *, ignore_index: int | None = None) -> SetSummary:
        """Return the coverage beside what is expected, by class and by size; print it to read it.

        Args:
            y: labels `(N)`.
            ignore_index: the label of examples to leave out.

        Raises:
            ValueError: if `y` has another length, or holds a label not in 0 to C - 1.
        """
        shape = tuple(self.sets.shape)
        labels = hard_labels(y, shape, ignore_index, device=self.sets.device)
        kept = torch.ones_like(labels) > 0 if ignore_index is None else labels != ignore_index
        sets, labels, classes = self.sets[kept], labels[kept], self.sets.shape[1]
        covered = sets.gather(1, labels.unsqueeze(1)).squeeze(1)
        by_class = covered_by_group(covered, labels, classes)
        hits, counts = by_class
        if len(self.calibration) == 1:
            hits, counts = hits.sum(0, keepdim=True), counts.sum(0, keepdim=True)
        return SetSummary(
            GuaranteedCoverage(hits, counts, self.calibration, self.alpha),
            GroupCoverage(*by_class),
            GroupCoverage(*covered_by_group(covered, sets.sum(1), classes + 1)),
        )


@dataclass(frozen=True, eq=False)
class SetSummary:
    """The coverage of sets, in numbers of examples.

    Args:
        guaranteed: in all, or of each class if each has a threshold.
        by_class: of each right class.
        by_size: of sets with 0, 1, ..., C classes.
    """

    guaranteed: GuaranteedCoverage
    by_class: GroupCoverage
    by_size: GroupCoverage

    promised = OldAttribute("guaranteed")

    @property
    def mean_size(self) -> float:
        """The mean number of classes in a set."""
        counts = self.by_size.counts
        return float((counts * torch.arange(len(counts))).sum().double() / counts.sum())

    @property
    def mean_of_classes(self) -> float:
        """The mean of the coverage of each class that has examples."""
        return float(self.by_class.observed.nanmean())

    def __str__(self) -> str:
        lines = [str(self.guaranteed), f"mean size {self.mean_size:.4g}"]
        lines += _rows("size", self.by_size)
        lines += _rows("class", self.by_class)
        return "\n".join(lines)

    def plot(self, by: Literal["class", "size"] = "class", ax: Axes | None = None) -> Axes:
        """Draw the coverage of each class, or of sets of each size.

        Raises:
            ValueError: for another `by`.
        """
        from duda.plots.conformal import coverage_by_group

        if by not in ("class", "size"):
            raise ValueError(f"`by` is {by!r}, expected 'class' or 'size'.")
        group = self.by_class if by == "class" else self.by_size
        present = group.counts.nonzero().squeeze(1)
        low, high = (end[present] for end in group.confidence())
        least = 1 - self.guaranteed.alpha
        return coverage_by_group(present, group.observed[present], low, high, least, by, ax)


def _rows(name: str, group: GroupCoverage) -> list[str]:
    """Return a row for each group with examples, of many those that are covered least."""
    present = group.counts.nonzero().squeeze(1)
    title = f"{name:>6}  examples  coverage"
    if len(present) > _ROWS:
        title += f"  (the lowest of {len(present)})"
        present = present[group.observed[present].argsort(stable=True)[:_ROWS]]
    return [title] + [
        f"{each:>6}  {int(group.counts[each]):>8,}  {float(group.observed[each]):>8.3f}"
        for each in present.tolist()
    ]
