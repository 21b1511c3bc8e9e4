"""Class predictions: mean probabilities, and how far the draws disagree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, at_least_float32, check_same_shape
from duda.devices import on_exact_device
from duda.predictions.base import Prediction
from duda.predictions.named_labels import NamedLabels
from duda.predictions.terms import Parts, Terms
from duda.predictions.validity import (
    check_distributions,
    check_draws,
    check_entropies,
    check_log_probs,
    check_votes,
)
from duda.probabilities import check_probs

__all__ = ["ClassPrediction", "entropy"]


def entropy(log_probs: Float[Tensor, "..."], dim: int) -> Float[Tensor, "..."]:
    """Return -Σ p log p over `dim` in nats, with 0 log 0 = 0, from log-probabilities.

    >>> entropy(torch.tensor([200.0, 0.0]).log_softmax(0), dim=0)
    tensor(0.)
    """
    terms = log_probs.exp() * log_probs  # 0 * inf is NaN, and counts as 0
    return (0.0 - terms.nansum(dim, dtype=torch.float64)).to(log_probs.dtype)  # not -0


@dataclass(frozen=True, eq=False, repr=False)
class ClassPrediction(NamedLabels, Prediction):
    """The mean of M categorical distributions over C classes, and how far the M disagree.

    `entropy` splits into `aleatoric`, the mean entropy of the draws, and `epistemic`, the mutual
    information of label and draw; all in nats. Source: Depeweg et al. 2018, eq. 2; Houlsby et al.
    2011 (BALD).

    Args:
        log_probs: log of the mean probabilities, `(N, C, *positions)`.
        aleatoric: mean over draws of their entropies, `(N, *positions)`, nats.
        votes: how many draws put each class first, `(N, C, *positions)`, integers.
        draws: the M draws' probabilities `(M, N, C, *positions)`, where they were kept.
        joint: whether a draw is one function for all examples.
        classes: their names, where they are known; labels `y` may then be words.

    >>> answer = ClassPrediction.from_probs([[0.5, 0.5], [1.0, 0.0]])
    >>> answer.entropy
    tensor([0.6931, 0.0000], dtype=torch.float64)
    """

    log_probs: Float[Tensor, "N C *positions"]
    aleatoric: Float[Tensor, "N *positions"]
    votes: Int[Tensor, "N C *positions"]
    draws: Float[Tensor, "M N C *positions"] | None = None
    joint: bool = field(default=False, kw_only=True)
    classes: tuple[str, ...] | None = field(default=None, kw_only=True)

    derived: ClassVar[tuple[str, ...]] = (
        "probs",
        "labels",
        "confidence",
        "margin",
        "entropy",
        "epistemic",
        "variation_ratio",
        "score",
    )
    score_name: ClassVar[str] = "entropy"
    score_unit = "nats"
    score_meaning = (
        "the entropy of the predicted probabilities: 0 nats for one sure class, more the more "
        "evenly they are spread"
    )
    loss_name: ClassVar[str] = "share of wrong answers"

    def __post_init__(self) -> None:
        if self.log_probs.ndim < 2 or self.log_probs.shape[1] < 2:
            raise ValueError(
                f"`log_probs` has shape {tuple(self.log_probs.shape)}, expected (N, C, *positions) "
                "with at least two classes."
            )
        each = (len(self.log_probs), *self.log_probs.shape[2:])
        check_same_shape(self.aleatoric, "aleatoric", each, "`log_probs` without its classes")
        check_same_shape(self.votes, "votes", tuple(self.log_probs.shape), "`log_probs`")
        check_draws(self.draws, tuple(self.log_probs.shape))
        check_log_probs(self.log_probs, "log_probs")
        check_entropies(self.aleatoric, "aleatoric", self.log_probs.shape[1])
        check_votes(self.votes, "votes")
        if self.draws is not None:
            check_distributions(self.draws, "draws")
        if self.classes is not None:
            object.__setattr__(self, "classes", self._checked_names(self.classes))

    @classmethod
    def from_probs(cls, probs: ArrayLike) -> Self:
        """Return the prediction of one network that gave `probs` `(N, C, *positions)`.

        Sums within 0.001 of one, as float16 gives them, are scaled to one. Draws of several
        networks go into `Categorical().reduce(draws)`, which takes log-probabilities for logits.

        Raises:
            ValueError: if `probs` are no distributions over at least two classes.
        """
        raw = "raw outputs go into `Categorical().reduce(logits[None])`"
        values = check_probs(as_tensor(probs, "probs"), remedy=raw)
        log_probs = at_least_float32(values).log().log_softmax(1)
        votes = torch.zeros_like(log_probs, dtype=torch.int32)
        votes.scatter_(1, log_probs.argmax(1, keepdim=True), 1)
        return cls(log_probs, entropy(log_probs, dim=1), votes)

    def as_classes(self) -> ClassPrediction:
        """Return the prediction, which is of classes; other families may be seen so."""
        return self

    def with_score(self, own_score: ArrayLike) -> ClassPrediction:
        """Return the prediction with a score of its own, `(N, *positions)`; infinite ones pass."""
        from duda.predictions.scored import ScoredClassPrediction

        return ScoredClassPrediction.from_prediction(self, own_score)

    def with_epistemic(self, epistemic: Float[Tensor, "N *positions"]) -> Self:
        """Return the prediction with that part of its entropy epistemic, all else aleatoric."""
        return replace(self, aleatoric=(self.entropy - epistemic).clamp(min=0))

    @property
    def probs(self) -> Float[Tensor, "N C *positions"]:
        """Mean probabilities."""
        return self.log_probs.exp()

    @property
    def confidence(self) -> Float[Tensor, "N *positions"]:
        """Probability of the most probable class."""
        return self.log_probs.amax(1).exp()

    @property
    def margin(self) -> Float[Tensor, "N *positions"]:
        """Probability of the first class minus that of the second."""
        first, second = self.probs.topk(2, dim=1).values.unbind(1)
        return first - second

    @property
    def entropy(self) -> Float[Tensor, "N *positions"]:
        """Entropy of the mean probabilities, nats."""
        return entropy(self.log_probs, dim=1)

    @property
    def epistemic(self) -> Float[Tensor, "N *positions"]:
        """Mutual information of label and draw, nats; never negative (Jensen), but for rounding."""
        return (self.entropy - self.aleatoric).clamp(min=0)

    @property
    def variation_ratio(self) -> Float[Tensor, "N *positions"]:
        """Share of draws whose first class is not the most frequent one (Freeman 1965)."""
        draws = self.votes.sum(1)
        return (draws - self.votes.amax(1)).to(self.log_probs.dtype) / draws

    @property
    def score(self) -> Float[Tensor, "N *positions"]:
        """Uncertainty: the entropy, nats."""
        return self.entropy

    @property
    def outputs(self) -> str:
        """How many classes there are, in words."""
        classes = f"{self.log_probs.shape[1]} classes"
        return f"{classes} at each position" if self.log_probs.ndim > 2 else classes

    def parts(self) -> Parts:
        """Return the expected entropy and the mutual information, nats."""
        return Parts(self.aleatoric, self.epistemic, "nats")

    def is_bad(self, y: ArrayLike, tolerance: float | None = None) -> Bool[Tensor, "N *positions"]:
        """Return whether the most probable class is another than the label.

        Raises:
            ValueError: if `y` are no labels `(N, *positions)`, or a tolerance is given.
        """
        if tolerance is not None:
            raise ValueError(
                f"`tolerance` is {tolerance!r}, but a class is right or wrong: leave it out."
            )
        return on_exact_device(self.labels) != self._labels_like(y)

    def loss(self, y: ArrayLike) -> Float[Tensor, "N *positions"]:
        """Return 1 for each wrong answer, else 0."""
        return self.is_bad(y).double()

    def log_likelihoods(self, y: ArrayLike) -> Iterator[Float[Tensor, "N *positions"]]:
        """Yield each kept draw's log-likelihood of the labels, nats; without draws the mean's."""
        labels = self._target(y)
        if self.draws is None:
            yield on_exact_device(self.log_probs.detach()).double().gather(1, labels).squeeze(1)
            return
        for probs in self.draws:
            yield on_exact_device(probs.detach()).double().gather(1, labels).squeeze(1).log()

    def contributions(self, y: ArrayLike) -> dict[str, Terms]:
        """Return what each example adds to accuracy, NLL, Brier score, ECE and AUROC of errors."""
        labels = self._target(y)
        # Sums to one in float64, as `evaluation` takes them: a confidence may lie on a bin's edge.
        log_probs = on_exact_device(self.log_probs.detach()).double().log_softmax(1)
        wrong = self.is_bad(y)
        # Σ p² - 2 p_y + 1 would lose digits where the model is sure and right.
        distances = log_probs.exp().scatter_add(1, labels, -torch.ones_like(log_probs[:, :1]))
        return {
            "accuracy": Terms((~wrong).double()),
            "nll": Terms(-log_probs.gather(1, labels).squeeze(1)),
            "brier": Terms(distances.square().sum(1)),
            "ece": Terms(log_probs.amax(1).exp(), "calibration", ~wrong),
            "auroc_errors": Terms(on_exact_device(self.score.detach()).double(), "ranking", wrong),
        }
