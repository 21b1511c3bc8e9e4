"""Risk-coverage curves (AURC, E-AURC, AUGRC): what is gained by abstaining where unsure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_finite, check_same_shape
from duda.evaluation.given import confidence_and_hits, score_and_loss
from duda.evaluation.ties import tied_runs
from duda.inputs import flags, scores
from duda.ordered import ascending
from duda.predictions import ClassPrediction
from duda.predictions.given import ScoresGiven
from duda.renamed import OldAttribute
from duda.shown import Shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["AccuracyAbove", "Selection", "accuracy_above", "selective"]

_LEVELS = 100  # steps of confidence from 0 to 1


@dataclass(frozen=True, eq=False, repr=False)
class Selection(Shown):
    """The risk-coverage curve, with a point for each of K distinct scores.

    Tied examples are accepted together, so their order means nothing. The curve starts at coverage
    0 with the risk of its first threshold.
    Source: El-Yaniv & Wiener 2010; Geifman & El-Yaniv 2017, section 2.

    Args:
        thresholds: `(K)`, ascending: examples with a score of at most the threshold are accepted.
        accepted: `(K)`, how many they are, int64.
        losses: `(K)`, the sum of their losses, float64.
        best_aurc: the area under the curve of a score that orders examples by their loss.
    """

    headline = ("aurc",)

    thresholds: Shaped[Tensor, "K"]
    accepted: Int[Tensor, "K"]
    losses: Float[Tensor, "K"]
    best_aurc: float

    @property
    def coverages(self) -> Float[Tensor, "K+1"]:
        """The share of examples accepted, from 0 up to 1."""
        return _after_zero(self.accepted.double() / self.accepted[-1])

    @property
    def risks(self) -> Float[Tensor, "K+1"]:
        """The mean loss of the accepted examples."""
        risks = self.losses / self.accepted
        return torch.cat([risks[:1], risks])

    @property
    def generalized_risks(self) -> Float[Tensor, "K+1"]:
        """The loss of the accepted examples over all N: for errors, how often one slips through."""
        return _after_zero(self.losses / self.accepted[-1])

    generalised_risks = OldAttribute("generalized_risks")

    @property
    def aurc(self) -> float:
        """Area under the curve by the trapezoid rule; lower is better.

        `aurc_of_prefixes` goes by the same name, and is another number.
        """
        return float(torch.trapezoid(self.risks, self.coverages))

    @property
    def aurc_of_prefixes(self) -> float:
        """Mean of the risks of the first 1, 2, ..., N examples (Geifman et al. 2019, AURC).

        Tied examples have no order: this is the mean over all orders that they could have.
        """
        count = int(self.accepted[-1])
        first = torch.arange(1, count + 1, device=self.accepted.device)
        # On average over its orders a run of ties adds the same loss with each example.
        known, losses = _after_zero(self.accepted), _after_zero(self.losses)
        each = losses.diff() / known.diff()
        run = torch.arange(len(each), device=each.device).repeat_interleave(known.diff())
        sums = losses[run] + (first - known[run]) * each[run]
        return float((sums / first).mean())

    @property
    def eaurc(self) -> float:
        """Excess of `aurc` over `best_aurc`, which for errors is r + (1 − r) ln(1 − r).

        r is the share of errors. The best area is that of endless data with losses distributed as
        these, so that few examples may fall slightly below 0. Source: Geifman et al. 2019, E-AURC.
        """
        return self.aurc - self.best_aurc

    @property
    def augrc(self) -> float:
        """Area under the generalized risk over coverage by the trapezoid rule; lower is better.

        For errors: the mean over coverages of how often an error slips through, at most 0.5.
        Source: Traub et al. 2024, AUGRC.
        """
        return float(torch.trapezoid(self.generalized_risks, self.coverages))

    def threshold_at(self, coverage: float) -> float:
        """Return the lowest threshold; scores of at most it are at least `coverage` of all.

        Raises:
            ValueError: unless 0 < `coverage` <= 1.
        """
        if not 0 < coverage <= 1:
            raise ValueError(f"`coverage` is {coverage}, expected a share above 0 and at most 1.")
        return float(self.thresholds[int((self.coverages[1:] < coverage).sum())])

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the risk over the share of examples accepted."""
        from duda.plots.selection import risk_coverage

        return risk_coverage(self.coverages.cpu(), self.risks.cpu(), self.aurc, ax)


def selective(
    score: ScoresGiven,
    loss: ArrayLike,
    *,
    ignore_index: int | None = None,
    mask: ArrayLike | None = None,
) -> Selection:
    """Return the risk at each coverage when examples are accepted from the lowest score up.

    Args:
        score: a prediction; or uncertainty, higher is worse: infinite values may pass.
        loss: beside a prediction `y`, from which it knows its losses: 0 and 1 for classes, squared
            errors for numbers. Else finite numbers of the shape of `score`.
        ignore_index: the label of positions to leave out, beside a prediction and its labels.
        mask: of the shape of the scores: which of them count.

    Raises:
        TypeError: if truth values came beside a prediction.
        ValueError: if shapes differ, there are no examples, or NaN or infinite losses.

    >>> selective([0.1, 0.9, 0.4, 0.2], [0, 1, 1, 0]).risks
    tensor([0.0000, 0.0000, 0.0000, 0.3333, 0.5000], dtype=torch.float64)
    """
    score, loss = score_and_loss(score, loss, "loss", ignore_index, mask)
    values = scores(score)
    losses = as_tensor(loss, "loss").to(values.device)
    check_same_shape(losses, "loss", tuple(values.shape), "`score`")
    check_finite(losses, "loss")
    values, losses = values.flatten(), losses.flatten().double()
    runs = tied_runs(values)
    return Selection(runs.distinct, runs.ends + 1, runs.cumulated(losses), _best_aurc(losses))


@dataclass(frozen=True, eq=False, repr=False)
class AccuracyAbove(Shown):
    """How often a model is right among the examples that it is at least so sure of.

    Args:
        levels: `(L)`, of confidence.
        accepted: `(L)`, examples with at least that confidence, int64.
        hits: `(L)`, right ones among them, int64.
    """

    levels: Float[Tensor, "L"]
    accepted: Int[Tensor, "L"]
    hits: Int[Tensor, "L"]

    @property
    def accuracy(self) -> Float[Tensor, "L"]:
        """Share of right examples among the accepted ones; NaN where there are none."""
        return self.hits.double() / self.accepted

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the accuracy over the confidence that is asked for."""
        from duda.plots.selection import accuracy_above

        return accuracy_above(self.levels, self.accuracy, ax)


def accuracy_above(
    confidence: ClassPrediction | ArrayLike,
    correct: ArrayLike,
    *,
    levels: ArrayLike | None = None,
    ignore_index: int | None = None,
    mask: ArrayLike | None = None,
) -> AccuracyAbove:
    """Return the accuracy on examples of at least each confidence, from 0 to 1 in steps of 0.01.

    Examples of classes that were not trained on count as wrong: what is sure of them shows.
    Source: Lakshminarayanan et al. 2017, figure 6.

    Args:
        confidence: a prediction; or numbers of any shape, usually the probability of the most
            probable class.
        correct: beside a prediction the labels `y`; else whether it was right, of the same shape:
            booleans, or 0 and 1.
        levels: others of confidence, `(L)`.
        ignore_index: the label of positions to leave out, beside a prediction and its labels.
        mask: of the shape of the confidences: which of them count.

    Raises:
        TypeError: for a prediction of numbers, or if truth values came beside one of classes.
        ValueError: if shapes differ, there are no examples, or a confidence is NaN.

    >>> accuracy_above([0.9, 0.8, 0.6], [1, 1, 0], levels=[0.5, 0.7]).accuracy
    tensor([0.6667, 1.0000], dtype=torch.float64)
    """
    of_numbers = "`evaluation.selective(prediction, y)`"
    confidence, correct = confidence_and_hits(confidence, correct, of_numbers, ignore_index, mask)
    values = scores(confidence, "confidence")
    right = flags(correct, "correct", values, "`confidence`").flatten()
    wanted = torch.arange(_LEVELS + 1).double() / _LEVELS
    if levels is not None:
        wanted = scores(levels, "levels").double().flatten().clone()  # not the caller's
    values, there = values.flatten().double(), wanted.to(values.device)
    found = wanted, _at_least(values, there), _at_least(values[right], there)
    return AccuracyAbove(*(each.cpu() for each in found))


def _best_aurc(losses: Float[Tensor, "N"]) -> float:
    """Return ∫₀¹ Q(u) (−ln u) du, Q the quantiles of the losses: the area for endless data.

    It is ∫₀¹ dc (1/c) ∫₀ᶜ Q(u) du, the lowest losses accepted first, in the other order.
    """
    share = torch.arange(len(losses) + 1, device=losses.device).double() / len(losses)
    weights = (share - torch.xlogy(share, share)).diff()
    return float(ascending(losses) @ weights)


def _at_least(values: Float[Tensor, "N"], levels: Float[Tensor, "L"]) -> Int[Tensor, "L"]:
    """Return how many of `values` are at least each level."""
    return len(values) - torch.searchsorted(ascending(values), levels)


def _after_zero(values: Tensor) -> Tensor:
    return torch.cat([values.new_zeros(1), values])
