"""Conformal risk control: a bounded monotone loss kept below a level, such as what a set misses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from duda.checks import (
    ArrayLike,
    as_tensor,
    check_above_0,
    check_finite,
    check_not_empty,
    check_same_shape,
    check_whole,
    counted,
)
from duda.devices import on_exact_device
from duda.fitted import Fitted, check_that
from duda.inputs import flags, hard_labels, numbers, which_count
from duda.predictions import ClassPrediction
from duda.predictions.given import labels_given, prediction_given
from duda.storage import Format

__all__ = ["RiskControl", "missed_shares"]

_ROUNDING = 1e-12  # of sums and of losses that are means


@dataclass(eq=False)
class RiskControl(Fitted):
    """The boldest threshold whose loss on a new example is at most `alpha`, in expectation.

    It is the first of the thresholds, boldest first, at which n / (n + 1) times the mean loss of n
    held-out examples, plus `largest` / (n + 1), is at most alpha; the last one if there is none.
    That holds for a new example that is exchangeable with them, on average over held-out sets.
    Source: Angelopoulos et al. 2024, Conformal Risk Control, theorem 1.

    Args:
        alpha: the expected loss that is allowed, in its unit, below `largest`.
        largest: B, what a loss cannot exceed.

    Attributes:
        threshold: the chosen one.
        examples: n.
        risk: the mean loss of the held-out examples there.

    >>> probs, truth = [[0.9, 0.6, 0.1], [0.8, 0.2, 0.7]], [[1, 1, 0], [1, 0, 1]]
    >>> thresholds = [0.9, 0.65, 0.5, 0.0]
    >>> RiskControl(0.4).fit(missed_shares(probs, truth, thresholds), thresholds).threshold
    0.5
    """

    format = Format("conformal predictor")
    alpha: float = 0.1
    largest: float = 1.0
    threshold: float = field(init=False, repr=False)
    examples: int = field(init=False, repr=False)
    risk: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.alpha = check_above_0(self.alpha, "alpha")
        self.largest = check_above_0(self.largest, "largest")
        if self.alpha >= self.largest:
            raise ValueError(
                f"`alpha` is {self.alpha}, expected it below `largest`, which is {self.largest}."
            )

    @property
    def bound(self) -> float:
        """What the expected loss does not exceed, given that another example could be the worst.

        Above alpha only where the last threshold was taken, whose losses never are.
        """
        self.check_fitted()
        return (self.examples * self.risk + self.largest) / (self.examples + 1)

    def fit(self, losses: ArrayLike, thresholds: ArrayLike) -> Self:
        """Choose the threshold on held-out examples, and return itself.

        Args:
            losses: `(N, L)`, of each example at each threshold, 0 to `largest`, none higher than at
                the threshold before.
            thresholds: `(L)`, from the boldest to the most cautious, in any unit; the last must
                never cost more than alpha, as one that takes everything does.

        Raises:
            ValueError: if losses rise, or lie elsewhere, if the last cost more, or shapes differ.
        """
        tried = numbers(thresholds, "thresholds").cpu()
        table = _losses(losses, tried, self.largest)
        if bool((table[:, -1] > self.alpha).any()):
            raise ValueError(
                f"`losses` at the last threshold reach {float(table[:, -1].max()):.4g}, expected "
                f"at most `alpha`, which is {self.alpha}: let `thresholds` end in one that takes "
                "everything."
            )
        n = len(table)
        bounds = (table.sum(0) + self.largest) / (n + 1)
        allowed = (bounds <= self.alpha * (1 + _ROUNDING)).nonzero()
        chosen = int(allowed[0]) if len(allowed) else len(tried) - 1
        self.threshold, self.examples = float(tried[chosen]), n
        self.risk = float(table[:, chosen].mean())
        return self

    def summary(self) -> str:
        """Return in plain sentences what is guaranteed, and what it rests on."""
        self.check_fitted()
        return (
            f"Rests on {counted(self.examples, 'held-out example')}, whose mean loss at the "
            f"threshold {self.threshold:.6g} is {self.risk:.4g}. Guarantee: the expected loss of a "
            f"new example like these is at most {self.alpha:.4g}."
        )

    def check_learned(self) -> None:
        """Raise a `ValueError` unless there were examples, and losses within their bounds."""
        super().check_learned()
        check_that(self.examples >= 1, f"`examples` is {self.examples}")
        check_that(0 <= self.risk <= self.largest, f"`risk` is {self.risk}")


def missed_shares(
    probs: ClassPrediction | ArrayLike,
    truth: ArrayLike,
    thresholds: ArrayLike,
    *,
    label: int | None = None,
    ignore_index: int | None = None,
    mask: ArrayLike | None = None,
) -> Float[Tensor, "N L"]:
    """Return which share of what is there is missed, of each example at each threshold.

    Taken are labels, or pixels, of a probability of at least the threshold. Where there is nothing
    to miss, nothing is. Large pictures can come one by one: the rows of several calls, one below
    the other, are what `RiskControl.fit` asks for.

    Args:
        probs: `(N, *rest)`, of each of L labels or at each pixel; or a prediction of classes, such
            as a segmentation, or of several labels.
        truth: of that shape, booleans or 0 and 1; beside a prediction its labels `y`.
        thresholds: `(L)`; 0, or below, takes everything.
        label: beside a prediction, the class that is looked for; may be left out of two.
        ignore_index: beside a prediction, the label of what does not count.
        mask: of the shape of the truth: which of them count.

    Raises:
        TypeError: if `label` is missing, or comes beside no prediction.
        ValueError: if shapes differ, or there are no numbers.

    >>> missed_shares([[0.9, 0.6, 0.1]], [[1, 1, 0]], [0.95, 0.8, 0.5])
    tensor([[1.0000, 0.5000, 0.0000]], dtype=torch.float64)
    """
    values, there = _looked_for(probs, truth, label, ignore_index)
    there = there & which_count(mask, values, "`probs`")
    tried = numbers(thresholds, "thresholds").to(values.device)
    rows = zip(values.flatten(1), there.flatten(1), strict=True)
    return torch.stack([_missed(row[found], tried) for row, found in rows])


def _looked_for(
    probs: ClassPrediction | ArrayLike,
    truth: ArrayLike,
    label: int | None,
    ignore_index: int | None,
) -> tuple[Float[Tensor, "N *rest"], Bool[Tensor, "N *rest"]]:
    """Return the probability that something is there, and whether it is and counts."""
    prediction = prediction_given(probs, ClassPrediction, "probs", "probabilities")
    if prediction is None:
        if label is not None or ignore_index is not None:
            raise TypeError(
                "`label` and `ignore_index` are of predictions: give `truth` and `mask` beside "
                "probabilities."
            )
        values = numbers(probs, "probs")  # type: ignore[arg-type] # no prediction
        return values, flags(truth, "truth", values, "`probs`")
    shape = tuple(prediction.log_probs.shape)
    if label is None and shape[1] > 2:
        raise TypeError(
            f"`label` is missing beside a prediction of {shape[1]} classes: say which one is "
            "looked for."
        )
    place = 1 if label is None else check_whole(label, "label")
    if not 0 <= place < shape[1]:
        raise ValueError(f"`label` is {place}, expected 0 to {shape[1] - 1}.")
    values = numbers(prediction.probs[:, place], "probs")
    y = hard_labels(
        labels_given(prediction, truth), shape, ignore_index, "truth", device=values.device
    )
    there = y == place
    return values, there if ignore_index is None else there & (y != ignore_index)


def _missed(probs: Float[Tensor, "K"], thresholds: Float[Tensor, "L"]) -> Float[Tensor, "L"]:
    below = torch.searchsorted(probs.sort().values, thresholds)
    return below.double() / max(len(probs), 1)


def _losses(
    losses: ArrayLike, thresholds: Float[Tensor, "L"], largest: float
) -> Float[Tensor, "N L"]:
    """Return losses in float64 on the CPU, that are between bounds and never rise."""
    table = on_exact_device(as_tensor(losses, "losses")).double().cpu()
    if table.ndim != 2:
        raise ValueError(
            f"`losses` has shape {tuple(table.shape)}, expected (N, L): a row for each example, a "
            "column for each threshold."
        )
    check_same_shape(table, "losses", (len(table), len(thresholds)), "`thresholds`")
    check_not_empty(table, "losses")
    check_finite(table, "losses")
    if float(table.min()) < 0 or float(table.max()) > largest:
        raise ValueError(
            f"`losses` lie in [{float(table.min()):.4g}, {float(table.max()):.4g}], expected 0 to "
            f"`largest`, which is {largest:.4g}."
        )
    rising = (table.diff(dim=1) > _ROUNDING * largest).nonzero()
    if len(rising):
        row, column = rising[0].tolist()
        raise ValueError(
            f"`losses` of example {row} rise after threshold {column}, expected none to: give "
            "`thresholds` from the boldest to the most cautious, and a loss that cannot rise."
        )
    return table
