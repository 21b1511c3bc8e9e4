"""Reliability diagrams, ECE and MCE: how often examples of like confidence are right."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from duda.checks import ArrayLike
from duda.evaluation.bins import Binning, Bins, Reduction, Tally, is_uniform, reduced
from duda.evaluation.debiased import absolute_errors, squared_errors
from duda.evaluation.given import checked_claims
from duda.evaluation.null_band import NullBand, null_band
from duda.evaluation.rows import Kind, LabelledRows, check_kind
from duda.predictions import ClassPrediction
from duda.predictions.given import ClassesGiven
from duda.shown import Shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Reliability", "reliability", "reliability_of"]


@dataclass(frozen=True, eq=False, repr=False)
class Reliability(Shown):
    """Counts and sums over B bins of confidence, enough for every figure of calibration.

    Bin b holds confidences in [edges[b], edges[b + 1]), the last bin also its upper edge. Two over
    the same edges add up to that of all their examples. With a row for each class, figures are the
    mean over classes, and `per_class` has them one by one.
    Source: Guo et al. 2017, section 2; Naeini et al. 2015 (ECE, MCE); Kull et al. 2019 (classes).

    Args:
        edges: `(*C, B + 1)`, ascending, float64; one row if all classes share it.
        counts: `(*C, B)`, examples, int64.
        hits: `(*C, B)`, right ones among them, int64; of votes their shares, float64.
        confidence_sums: `(*C, B)`, float64.
        null_variances: `(*C, B)`, sums of p (1 - p): how hits vary if each confidence p is true.
    """

    headline = ("ece",)

    edges: Float[Tensor, "*C B+1"]
    counts: Int[Tensor, "*C B"]
    hits: Shaped[Tensor, "*C B"]
    confidence_sums: Float[Tensor, "*C B"]
    null_variances: Float[Tensor, "*C B"]

    def __add__(self, other: Reliability) -> Reliability:
        if not torch.equal(self.edges, other.edges) or self.counts.shape != other.counts.shape:
            raise ValueError(
                f"the bins differ ({_size(self.counts)} and {_size(other.counts)} of them): count "
                "both parts over the same edges."
            )
        sums = (
            getattr(self, field.name) + getattr(other, field.name) for field in fields(self)[1:]
        )
        return Reliability(self.edges, *sums)

    @property
    def confidence(self) -> Float[Tensor, "*C B"]:
        """Mean confidence in each bin; NaN where the bin is empty."""
        return self.confidence_sums / self.counts

    @property
    def accuracy(self) -> Float[Tensor, "*C B"]:
        """Share of right examples in each bin; NaN where the bin is empty."""
        return self.hits / self.counts.double()

    @property
    def gaps(self) -> Float[Tensor, "*C B"]:
        """Confidence less accuracy: above 0 is over-confident; NaN where the bin is empty."""
        return self.confidence - self.accuracy

    @property
    def gap(self) -> float:
        """Mean confidence less accuracy of all examples: above 0 is over-confident.

        Over all classes together it is 0, whatever the model: see `per_class`.
        """
        return float((self.confidence_sums.sum() - self.hits.sum()) / self.counts.sum())

    @property
    def ece(self) -> float:
        """Expected calibration error: the mean over examples of their bin's error."""
        return self.ce("weighted")

    @property
    def mce(self) -> float:
        """Maximum calibration error: the largest error of a bin that is not empty."""
        return float(self.gaps[self.counts > 0].abs().max())

    @property
    def squared_ce(self) -> float:
        """Mean over examples of the square of their bin's error."""
        return self._mean(self.gaps.square())

    @property
    def rmsce(self) -> float:
        """Root mean squared calibration error. Source: Hendrycks et al. 2019."""
        return math.sqrt(self.squared_ce)

    @property
    def debiased_squared_ce(self) -> float:
        """`squared_ce` less what chance adds to it: unbiased, hence below 0 for some good models.

        A bin of one example cannot tell, and adds 0; NaN where every bin is such.
        Source: Kumar et al. 2019.
        """
        if int(self._hard_counts().max()) < 2:
            return math.nan
        return self._mean(squared_errors(self.gaps, self.accuracy, self.counts))

    @property
    def debiased_rmsce(self) -> float:
        """Root of `debiased_squared_ce`, or 0 where that is negative."""
        squared = self.debiased_squared_ce
        return squared if math.isnan(squared) else math.sqrt(max(squared, 0.0))

    @property
    def debiased_ece(self) -> float:
        """`ece` less part of what chance adds to it, which may leave less than 0.

        Of a perfect model's it takes about two fifths. Source: Kumar et al. 2019.
        """
        return self._mean(absolute_errors(self.gaps, self.accuracy, self._hard_counts()))

    def ce(self, reduction: Reduction) -> float:
        """Return the bins' |accuracy - confidence| as one number; empty bins have no part in it.

        Args:
            reduction: the `"sum"` over bins, their `"mean"`, or `"weighted"` by their examples.
        """
        return float(reduced(self.hits - self.confidence_sums, self.counts, reduction).mean())

    @property
    def per_class(self) -> tuple[Reliability, ...]:
        """What there is for each class against the rest.

        Raises:
            ValueError: unless counted with `kind="class"`.
        """
        if self.counts.ndim == 1:
            raise ValueError(
                "the bins hold one claim for each example, expected all classes: call "
                "`reliability(..., kind='class')`."
            )
        edges = self.edges.expand(len(self.counts), -1)
        rest = (getattr(self, field.name) for field in fields(self)[1:])
        return tuple(Reliability(*rows) for rows in zip(edges, *rest, strict=True))

    def class_table(self) -> dict[str, list[float]]:
        """Return columns with a row for each class, fit for a data frame.

        Raises:
            ValueError: unless counted with `kind="class"`.
        """
        classes = self.per_class
        return {
            "class": list(range(len(classes))),
            "frequency": [float(one.hits.sum()) / int(one.counts.sum()) for one in classes],
            "confidence": [float(one.confidence_sums.sum() / one.counts.sum()) for one in classes],
            "gap": [one.gap for one in classes],
            "ece": [one.ece for one in classes],
            "mce": [one.mce for one in classes],
        }

    def null_band(
        self,
        level: float = 0.95,
        repeats: int = 1000,
        seed: int = 0,
        reduction: Reduction = "weighted",
    ) -> NullBand:
        """Return what the calibration error would be by chance, were every confidence true.

        A small test set shows an error with nothing wrong: an ECE of about 0.125 for 50 examples
        in 15 bins. Classes are drawn one by one, so that for `kind="class"` the width is
        approximate. `reduction` is that of `ce`: by default it is the ECE.

        Raises:
            ValueError: for votes, or a `level` not between 0 and 1.
        """
        sums = self._hard_counts(), self.confidence_sums, self.null_variances
        found = self.ce(reduction)
        return null_band(*sums, found, reduction, level=level, repeats=repeats, seed=seed)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the reliability diagram, with the band that chance explains unless `y` were votes.

        Raises:
            ValueError: for a row for each class: draw one of `per_class`.
        """
        from duda.plots.calibration import reliability_diagram

        if self.counts.ndim > 1:
            raise ValueError(
                f"the bins hold {len(self.counts)} classes, expected one: draw `per_class[0]`."
            )
        band = None if self.hits.is_floating_point() else self.null_band()
        return reliability_diagram(
            self.edges,
            self.counts,
            self.confidence,
            self.accuracy,
            ece=self.ece,
            band=None if band is None else (band.lower, band.upper),
            limit=None if band is None else band.limit,
            ax=ax,
        )

    def _mean(self, errors: Float[Tensor, "*C B"]) -> float:
        """Return the mean over examples, then over classes, of what each bin shows."""
        return float(((errors * self.counts).nansum(-1) / self.counts.sum(-1)).mean())

    def _hard_counts(self) -> Int[Tensor, "*C B"]:
        if self.hits.is_floating_point():
            raise ValueError(
                "`y` were shares of votes, expected integer labels, whose chance is known: call "
                "`reliability` with `y.argmax(1)`."
            )
        return self.counts


def reliability(
    probs: ClassesGiven = None,
    y: ArrayLike | None = None,
    *,
    bins: int = 15,
    binning: Binning = "uniform",
    kind: Kind = "top",
    logits: ArrayLike | None = None,
    ignore_index: int | None = None,
) -> Reliability:
    """Return how often what the probabilities claim is right, in bins of its probability.

    Args:
        probs: a prediction, or `(N, C, *positions)`; every position counts as an example.
        y: integer labels `(N, *positions)`, or shares of votes in the shape of `probs`.
        bins: how many.
        binning: of equal width, or with equally many examples, as far as ties let them.
        kind: the claim: the most probable class, every class, or class 1 of two.
        logits: in place of `probs`.
        ignore_index: the label of positions to leave out.

    Raises:
        ValueError: if shapes differ, a label is not in 0 to C - 1, or there is NaN.

    >>> round(reliability([[0.75, 0.25], [0.25, 0.75]], [0, 0]).ece, 4)
    0.25
    """
    rows = LabelledRows(probs, y, logits, ignore_index)
    check_kind(kind, ("top", "class", "binary"), rows.classes)
    if is_uniform(binning):
        scale = Bins.of_equal_width(bins, rows.device)
    elif kind == "class":
        scale = Bins.of_equal_counts(torch.cat([block.probs for block in rows]), bins)
    else:
        confidences = [block.claims(kind)[0] for block in rows]
        scale = Bins.of_equal_counts(torch.cat(confidences), bins)
    tallies = (scale.tally(block, kind) for block in rows)
    return _read_back(scale, functools.reduce(_added, tallies))


def reliability_of(
    confidence: ClassPrediction | ArrayLike,
    correct: ArrayLike,
    *,
    bins: int = 15,
    binning: Binning = "uniform",
    ignore_index: int | None = None,
    mask: ArrayLike | None = None,
) -> Reliability:
    """Return how often a claim is right, in bins of the confidence in it.

    Args:
        confidence: a prediction, as in `reliability`; or probabilities of being right, of any
            shape.
        correct: beside a prediction the labels `y`; else whether they were right, of the same
            shape: booleans, or 0 and 1.
        bins: how many.
        binning: of equal width, or with equally many examples, as far as ties let them.
        ignore_index: the label of positions to leave out, beside a prediction and its labels.
        mask: of the shape of the confidences: which of them count.

    Raises:
        TypeError: for a prediction of numbers, or if truth values came beside one of classes.
        ValueError: if shapes differ, or a confidence is NaN or not in [0, 1].

    >>> reliability_of([0.2, 0.9, 1.0], [False, True, True], bins=2).counts
    tensor([1, 2])
    """
    values, right = checked_claims(confidence, correct, ignore_index, mask)
    if is_uniform(binning):
        scale = Bins.of_equal_width(bins, values.device)
    else:
        scale = Bins.of_equal_counts(values, bins)
    return _read_back(scale, scale.count(values, right))


def _read_back(scale: Bins, tally: Tally) -> Reliability:
    return Reliability(*(each.cpu() for each in (scale.edges, *tally)))


def _added(one: Tally, other: Tally) -> Tally:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3]


def _size(counts: Tensor) -> str:
    return " x ".join(str(length) for length in counts.shape)
