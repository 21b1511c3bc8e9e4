"""Categorical likelihood: raw outputs are logits, draws of them average to a `ClassPrediction`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from duda.checks import (
    at_least_float32,
    check_not_empty,
    check_same_shape,
    check_whole,
)
from duda.doubts import doubt
from duda.likelihoods.base import Reduction
from duda.likelihoods.class_costs import balanced_weights
from duda.likelihoods.class_draws import ClassReduction
from duda.likelihoods.outputs import CHANCE, check_dim, check_no_probs, log_of_probs, outputs_first
from duda.likelihoods.weighted_classes import WeightedClasses
from duda.predictions import Prediction
from duda.probabilities import check_probs, odd_probs

__all__ = ["Categorical"]

_SHARES = (
    "divide counts of votes by their sum over the classes; zeros, where nobody voted, are left "
    "out by `ignore_index=-1`"
)
_REMEDY = "logits: remove that last layer, or give `Categorical(probs=True)` if it is meant"


@dataclass(frozen=True)
class Categorical(WeightedClasses):
    """Class logits `(N, C, *positions)`; integer labels, or soft ones such as shares of votes.

    What changes the meaning of the softmax is undone in predictions where that is exact: weights,
    which shift log p (Saerens et al. 2002), and γ. ε is not: the network learns (1 - ε) p + ε / C.
    Evaluation and validation go by -log p of the labels as they are.

    Args:
        ignore_index: the integer label of what is no target, such as unlabelled pixels, which adds
            nothing to the loss. With it, soft labels of zeros, for which nobody voted, are none.
        weight: how much each class counts, by which the loss is a weighted mean, as in torch;
            "balanced" for n / (C n_c), as counted in the training targets.
        label_smoothing: ε, the share of a target that is spread over all classes in the loss.
        focal: γ: the loss is -(1 - p)^γ log p (Lin et al. 2017).
        undo_weight: predict p. Without, p is that of data with classes as frequent as they count.
        undo_focal: predict p. Without, it is the softmax, which is less sure (Mukhoti et al. 2020).
        class_dim: -1 where the network puts out `(N, *positions, C)`; soft labels lie as these do.
        probs: whether the network ends in a softmax, and so puts out probabilities.

    >>> import torch
    >>> Categorical().loss(torch.zeros(3, 2), torch.tensor([0, 1, 1]))
    tensor(0.6931)
    """

    of_classes: ClassVar[bool] = True

    ignore_index: int | None = None
    class_dim: int | None = field(default=None, kw_only=True)
    probs: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_dim(self.class_dim, "class_dim")
        if self.ignore_index is not None:
            check_whole(self.ignore_index, "ignore_index")

    @property
    def output_dim(self) -> int | None:  # type: ignore[override]
        """The dimension of the classes, if it was given."""
        return self.class_dim

    def width(self, targets: int) -> int:
        """Return the number of classes: one logit each."""
        return targets

    def check_targets(
        self, outputs: Float[Tensor, "N C *positions"], y: Shaped[Tensor, "N *targets"]
    ) -> None:
        """Raise a `ValueError` unless `y` holds labels below C, or distributions over C classes."""
        found, outputs = outputs.shape, outputs_first(outputs, self.class_dim)
        if outputs.ndim < 2 or outputs.shape[1] < 2:
            raise ValueError(
                f"the network's outputs have shape {tuple(found)}, expected "
                "(N, C, *positions) with at least two classes: for two classes give two logits, "
                "or `duda.Bernoulli()` with a single one."
            )
        check_not_empty(outputs, "y")
        self.check_weights(outputs.shape[1])
        each = (len(outputs), *outputs.shape[2:])
        if y.is_floating_point():
            if y.shape == each:
                raise ValueError(
                    f"`y` has shape {each} and dtype {y.dtype}, expected integer labels, or a "
                    "share for each class: call `y.long()`."
                )
            y = outputs_first(y, self.class_dim)
            check_same_shape(y, "y", tuple(outputs.shape), "the outputs, one share for each class")
            known = self._known(y)
            y = y if known is None else y.where(known.unsqueeze(1), 1 / y.shape[1])
            doubt(partial(odd_probs, y), partial(check_probs, y, "y", _SHARES), y.nbytes)
            return
        check_same_shape(y, "y", each, "the outputs without their classes")
        classes = outputs.shape[1]

        def look() -> None:
            raise ValueError(
                f"`y` holds the label {int(y[self._wrong(y, classes)][0])}, expected 0 to "
                f"{classes - 1}: give a label to skip as `Categorical(ignore_index=...)`."
            )

        doubt(lambda: self._wrong(y, classes).any(), look, y.nbytes)

    def harmless(
        self, outputs: Float[Tensor, "N C *positions"], y: Shaped[Tensor, "N *targets"]
    ) -> Shaped[Tensor, "N *targets"]:
        """Return labels of which none lies beyond the classes."""
        if y.is_floating_point():
            return y
        return y.masked_fill(self._wrong(y, outputs_first(outputs, self.class_dim).shape[1]), 0)

    def _wrong(self, y: Tensor, classes: int) -> Tensor:
        """Return where labels are none that count, nor to be ignored."""
        wrong = (y < 0) | (y >= classes)
        return wrong if self.ignore_index is None else wrong & (y != self.ignore_index)

    def check_outputs(
        self, outputs: Float[Tensor, "N C *positions"], chance: float = CHANCE
    ) -> None:
        """Raise a `ValueError` if logits are probabilities, or the other way around."""
        outputs = outputs_first(outputs, self.class_dim)
        if self.probs:
            log_of_probs(outputs)
        else:
            check_no_probs(outputs, _REMEDY, chance)

    def logits(self, draws: Float[Tensor, "M N C *positions"]) -> Tensor:
        """Return draws of raw outputs as logits of p, with the classes on dimension 2."""
        draws = outputs_first(draws, self.class_dim, dim=2)
        draws = log_of_probs(draws, dim=2) if self.probs else draws
        return self.unweighted(draws)

    def balance_of(self, batches: Iterable[Shaped[Tensor, "N *targets"]]) -> Float[Tensor, "C"]:
        """Return balanced weights, from batches of targets, which are read once."""
        return balanced_weights(map(self._class_counts, batches))

    def _class_counts(self, y: Shaped[Tensor, "N *targets"]) -> Tensor:
        """Return how often each class is the target, by shares of soft ones."""
        if y.is_floating_point():
            return outputs_first(y, self.class_dim).movedim(1, -1).flatten(0, -2).sum(0)
        known = self._known(y)
        return torch.bincount((y if known is None else y[known]).flatten().long())

    def negative_log_likelihood(
        self, outputs: Float[Tensor, "N C *positions"], y: Shaped[Tensor, "N *targets"]
    ) -> Float[Tensor, ""]:
        """Return the cross-entropy, the mean over examples and the positions that count."""
        outputs = outputs_first(at_least_float32(outputs), self.class_dim)
        y = outputs_first(y, self.class_dim).to(outputs.dtype) if y.is_floating_point() else y
        if self.probs:
            possible = outputs > 0  # or else the gradient is 0 / 0
            outputs = outputs.where(possible, 1).log().where(possible, -torch.inf)
        elif not self.changes_loss and self.ignore_index is None:
            return F.cross_entropy(outputs, y if y.is_floating_point() else y.long())
        known, costs = self._known(y), self.costs(outputs)
        y = y if known is None or y.is_floating_point() else y.where(known, 0)
        each, counts = costs.each(outputs, y), costs.counts(y)
        if known is not None:
            # A batch without a single labelled position has loss 0, not 0 / 0.
            each = each.where(known, 0)
            counts = known if counts is None else counts.where(known, 0)
        if counts is None:
            return each.mean()
        total = counts.sum()
        return each.sum() / total.where(total > 0, 1)

    def _known(self, y: Shaped[Tensor, "N *targets"]) -> Bool[Tensor, "N *positions"] | None:
        """Return which targets, with classes on dimension 1, are known; None if all have to be."""
        if self.ignore_index is None:
            return None
        return (y != 0).any(1) if y.is_floating_point() else y != self.ignore_index

    def counted(self, y: Shaped[Tensor, "N *targets"]) -> Bool[Tensor, "N *positions"] | None:
        """Return which labels, or distributions over the classes, count; None for all."""
        return self._known(outputs_first(y, self.class_dim) if y.is_floating_point() else y)

    def terms(self, y: Shaped[Tensor, "N *targets"]) -> int | Int[Tensor, ""]:
        """Return how many labels, or distributions over the classes, count."""
        plain = self.ignore_index is None and not y.is_floating_point()
        return y.numel() if plain else super().terms(y)

    def loss_weight(self, y: Shaped[Tensor, "N *targets"]) -> int | Tensor:
        """Return the sum of the weights of the labels that count."""
        first = outputs_first(y, self.class_dim) if y.is_floating_point() else y
        known = self._known(first)
        first = first if known is None or y.is_floating_point() else first.where(known, 0)
        counts = self.costs(first).counts(first)
        if counts is None:
            return self.terms(y)
        return (counts if known is None else counts.where(known, 0)).sum()

    def prediction_loss(
        self, prediction: Prediction, y: Shaped[Tensor, "N *targets"]
    ) -> Float[Tensor, ""]:
        """Return the cross-entropy of the probabilities, over the positions that count."""
        log_probs: Tensor = prediction.log_probs  # type: ignore[attr-defined] # of classes
        y = outputs_first(y, self.class_dim) if y.is_floating_point() else y
        return Categorical(self.ignore_index).negative_log_likelihood(log_probs, y)

    def reduction(self, keep_draws: bool = False) -> Reduction:
        """Return an empty reduction of draws of logits."""
        return ClassReduction(keep_draws, self.logits)
