"""Bernoulli predictions: the probability of each of several labels (multi-label).

A label is true or false, whatever the others are: two classes at L places, as it is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, at_least_float32, check_same_shape, counted
from duda.devices import on_exact_device
from duda.predictions.by_label import ByLabel
from duda.predictions.classes import ClassPrediction
from duda.predictions.terms import Parts, Terms
from duda.predictions.validity import check_no_nan

__all__ = ["BernoulliPrediction"]


@dataclass(frozen=True, eq=False, repr=False)
class BernoulliPrediction(ByLabel):
    """The mean of M draws of the probabilities of L labels, and how far the M disagree.

    `entropy`, `aleatoric` and `epistemic` are those of each label, in nats. `score`, `parts` and
    losses are those of an example: sums over its labels, which are independent given a draw, so
    that the sum is no less than the entropy of all labels together.

    Args:
        by_label: a prediction of the classes 0 and 1 at each label, `(N, 2, L, *positions)`.
        own_score: a method's own score in place of the entropy, `(N, *positions)`.
        joint: whether a draw is one function for all examples.

    >>> answer = BernoulliPrediction.from_probs([[0.5, 1.0, 0.2]])
    >>> answer.labels, answer.entropy, answer.score
    (tensor([[1, 1, 0]]), tensor([[0.6931, 0.0000, 0.5004]], dtype=torch.float64), \
tensor([1.1935], dtype=torch.float64))
    """

    by_label: ClassPrediction
    own_score: Float[Tensor, "N *positions"] | None = field(default=None, kw_only=True)
    joint: bool = field(default=False, kw_only=True)

    derived: ClassVar[tuple[str, ...]] = (
        "probs",
        "labels",
        "confidence",
        "entropy",
        "aleatoric",
        "epistemic",
        "score",
        "draws",
    )
    loss_name: ClassVar[str] = "wrong labels of an example"

    def __post_init__(self) -> None:
        shape = tuple(self.by_label.log_probs.shape)
        if len(shape) < 3 or shape[1] != 2 or shape[2] == 0:
            raise ValueError(
                f"`by_label` has probabilities of shape {shape}, expected (N, 2, L, *positions)."
            )
        if self.own_score is not None:
            score = at_least_float32(as_tensor(self.own_score, "own_score"))
            check_same_shape(score, "own_score", (shape[0], *shape[3:]), "the examples")
            check_no_nan(score, "own_score")
            object.__setattr__(self, "own_score", score)

    @classmethod
    def from_probs(cls, probs: ArrayLike) -> Self:
        """Return the prediction of one network that gave `probs` `(N, L, *positions)`.

        Raises:
            ValueError: if they are no probabilities.
        """
        values = at_least_float32(as_tensor(probs, "probs"))
        if values.ndim < 2:
            raise ValueError(
                f"`probs` has shape {tuple(values.shape)}, expected (N, L, *positions): for one "
                "label call `probs.unsqueeze(1)`."
            )
        return cls(ClassPrediction.from_probs(torch.stack([1 - values, values], dim=1)))

    @property
    def said_shape(self) -> tuple[int, ...]:
        """The shape of what is said of each example, (L, *positions)."""
        return tuple(self.by_label.log_probs.shape[2:])

    @property
    def draws(self) -> Float[Tensor, "M N L *positions"] | None:  # type: ignore[override] # of what is kept
        """The draws' probabilities, where they were kept."""
        return None if self.by_label.draws is None else self.by_label.draws[:, :, 1]

    @property
    def probs(self) -> Float[Tensor, "N L *positions"]:
        """Mean probability that each label holds."""
        return self.by_label.log_probs[:, 1].exp()

    @property
    def labels(self) -> Int[Tensor, "N L *positions"]:
        """1 for each label that is more probable than not, or as probable, else 0."""
        return self.labels_at(0.5)

    @property
    def confidence(self) -> Float[Tensor, "N L *positions"]:
        """Probability of what is predicted of each label."""
        return self.by_label.confidence

    @property
    def entropy(self) -> Float[Tensor, "N L *positions"]:
        """Entropy of each label, nats."""
        return self.by_label.entropy

    @property
    def aleatoric(self) -> Float[Tensor, "N L *positions"]:
        """Mean over draws of each label's entropy, nats."""
        return self.by_label.aleatoric

    @property
    def epistemic(self) -> Float[Tensor, "N L *positions"]:
        """Mutual information of each label and the draw, nats."""
        return self.by_label.epistemic

    @property
    def score(self) -> Float[Tensor, "N *positions"]:
        """Uncertainty of an example: the sum of its labels' entropies, nats, or a method's own."""
        return self.entropy.sum(1) if self.own_score is None else self.own_score

    @property
    def score_name(self) -> str:  # type: ignore[override] # follows from the fields
        """What the score is called."""
        return "summed entropy" if self.own_score is None else "score"

    @property
    def score_unit(self) -> str:  # type: ignore[override] # likewise
        """In which unit the score is."""
        return "nats" if self.own_score is None else ""

    @property
    def score_meaning(self) -> str:  # type: ignore[override] # likewise
        """What uncertainty is."""
        if self.own_score is None:
            return "the sum over labels of the entropy of each: 0 nats where all are sure"
        return "the method's own score, on a scale of its own; higher is less sure"

    @property
    def outputs(self) -> str:
        """How many labels there are, in words."""
        where = " at each position" if len(self.said_shape) > 1 else ""
        return counted(self.said_shape[0], "label") + where

    def labels_at(self, threshold: float | Float[Tensor, "L"]) -> Int[Tensor, "N L *positions"]:
        """Return 1 for each label whose probability is at least the threshold, else 0.

        Args:
            threshold: a probability, for all labels or for each.
        """
        levels = torch.as_tensor(threshold, dtype=torch.float64)
        if levels.ndim > 1 or not bool(((levels >= 0) & (levels <= 1)).all()):
            raise ValueError(
                f"`threshold` is {threshold!r}, expected a probability, for all labels or for each."
            )
        probs = self.probs.double()
        levels = levels.to(probs.device)
        return (probs >= levels.view(-1, *[1] * (probs.ndim - 2))).long()

    def with_score(self, own_score: ArrayLike) -> Self:
        """Return the prediction with a score of its own, `(N, *positions)`; infinite ones pass."""
        scored = replace(self, own_score=own_score)  # type: ignore[arg-type] # made a tensor there
        return scored.with_joint(self.joint, self.drawn)

    def scores_of(self, kept: Bool[Tensor, "N L *positions"]) -> Bool[Tensor, "N *positions"]:
        """Return the examples of which at least one label counts."""
        return kept.any(1)

    def parts(self) -> Parts:
        """Return the sums over labels of expected entropies and of mutual informations, nats."""
        return Parts(self.aleatoric.sum(1), self.epistemic.sum(1), "nats")

    def is_bad(self, y: ArrayLike, tolerance: float | None = None) -> Bool[Tensor, "N *positions"]:
        """Return whether any label is predicted wrong.

        Raises:
            ValueError: if `y` are no zeros and ones `(N, L, *positions)`, or a tolerance is given.
        """
        return self.by_label.is_bad(self.numbers_of(y), tolerance).any(1)

    def loss(self, y: ArrayLike) -> Float[Tensor, "N *positions"]:
        """Return how many labels of each example are predicted wrong."""
        return self.by_label.loss(self.numbers_of(y)).sum(1)

    def log_likelihoods(self, y: ArrayLike) -> Iterator[Float[Tensor, "N L *positions"]]:
        """Yield each kept draw's log-likelihood of each label, nats."""
        return self.by_label.log_likelihoods(self.numbers_of(y))

    def contributions(self, y: ArrayLike) -> dict[str, Terms]:
        """Return what each example adds to its metrics: of labels the means over them."""
        found = self.by_label.contributions(self.numbers_of(y))
        means = {name: Terms(found[name].values.mean(1)) for name in ("accuracy", "brier")}
        bad, score = self.is_bad(y), on_exact_device(self.score.detach()).double()
        return {
            "subset_accuracy": Terms((~bad).double()),
            **means,
            "nll": Terms(found["nll"].values.sum(1)),
            "auroc_errors": Terms(score, "ranking", bad),
        }
