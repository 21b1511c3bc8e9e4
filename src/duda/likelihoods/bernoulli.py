"""Bernoulli likelihood: one logit for two classes, or one for each of several labels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from duda.checks import (
    at_least_float32,
    check_above_0,
    check_flag,
    check_not_empty,
    check_same_shape,
    check_whole,
)
from duda.doubts import doubt
from duda.likelihoods.base import Likelihood, Reduction
from duda.likelihoods.class_draws import ClassReduction
from duda.likelihoods.outputs import check_dim, one_column, outputs_first
from duda.predictions import BernoulliPrediction, ClassPrediction, Prediction
from duda.transfer import sent

__all__ = ["Bernoulli", "said_of_labels"]


@dataclass(frozen=True)
class Bernoulli(Likelihood):
    """Logits `(N, L, *positions)` of labels that may hold together; `(N)` or `(N, 1)` of one.

    Targets are 0 and 1, booleans or probabilities, and lie as the outputs. The loss is a sum over
    labels. One logit predicts a `ClassPrediction` of the classes 0 and 1, more of them a
    `BernoulliPrediction`.

    Args:
        pos_weight: how often a label that holds counts, for all labels or for each, as in torch.
            The network then learns the odds of p times this; predictions are of p, see below.
        ignore_index: the value of labels that nobody knows, such as -1; they add nothing.
        output_dim: -1 where the network puts out `(N, *positions, L)`.
        undo_weight: predict p, by logits less log `pos_weight`. Without, p is that of data where
            each label holds so much more often: recalibrate, by `duda.decisions.Temperature`.

    >>> import torch
    >>> Bernoulli().loss(torch.zeros(3), torch.tensor([0, 1, 1]))
    tensor(0.6931)
    """

    of_classes: ClassVar[bool] = True
    by_label: ClassVar[bool] = True

    pos_weight: float | tuple[float, ...] | None = None
    ignore_index: int | None = None
    output_dim: int | None = field(default=None, kw_only=True)
    undo_weight: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        check_dim(self.output_dim, "output_dim")
        check_flag(self.undo_weight, "undo_weight")
        ignored = self.ignore_index
        if ignored is not None and check_whole(ignored, "ignore_index") in (0, 1):
            raise ValueError(
                f"`ignore_index` is {ignored}, which is a label, expected another whole number: "
                "give -1."
            )
        if self.pos_weight is not None:
            given = torch.as_tensor(self.pos_weight, dtype=torch.float64).tolist()
            several = isinstance(given, list)
            found = [check_above_0(each, "pos_weight") for each in (given if several else [given])]
            object.__setattr__(self, "pos_weight", tuple(found) if several else found[0])

    def width(self, targets: int) -> int:
        """Return the number of labels: one logit each."""
        return targets

    def width_of_classes(self, classes: int) -> int:
        """Return 1 for two classes, of which a single logit tells."""
        return 1 if classes == 2 else classes

    def logits(self, outputs: Tensor, dim: int = 1) -> Tensor:
        """Return outputs with the labels on `dim`, which those of a single label may lack."""
        if outputs.ndim == dim:
            return outputs.unsqueeze(dim)
        return outputs_first(outputs, self.output_dim, dim)

    def placed(self, y: Tensor) -> Tensor:
        """Return targets with the labels on dimension 1, likewise."""
        return self.logits(y)

    def known(self, y: Tensor) -> Bool[Tensor, "N L *positions"]:
        """Return which of the targets, as `placed`, are known."""
        return (
            torch.ones_like(y, dtype=torch.bool)
            if self.ignore_index is None
            else (y != self.ignore_index)
        )

    def check_targets(
        self, outputs: Float[Tensor, "N *outputs"], y: Shaped[Tensor, "N *targets"]
    ) -> None:
        """Raise a `ValueError` unless `y` holds 0, 1 or a probability for each label."""
        if outputs.ndim == 0:
            raise ValueError("the network's outputs have shape (), expected (N, L, *positions).")
        check_not_empty(outputs, "y")
        logits = self.logits(outputs)
        self._weights(logits)
        if y.ndim == logits.ndim - 1 and logits.shape[1] > 1 and _are_classes(y, logits):
            raise ValueError(
                f"`y` has shape {tuple(y.shape)}, a class for each example, expected 0 or 1 for "
                f"each of {logits.shape[1]} labels: give `duda.Categorical()` for classes, or "
                f"`F.one_hot(y, {logits.shape[1]})`."
            )
        targets = one_column(outputs_first(y, self.output_dim), tuple(logits.shape))
        check_same_shape(targets, "y", tuple(logits.shape), "the logits, a target for each label")
        doubt(lambda: self._wrong(targets).any(), lambda: self._fail(targets), y.nbytes)

    def _wrong(self, y: Tensor) -> Tensor:
        """Return where targets are none."""
        if y.dtype == torch.bool:
            return torch.zeros_like(y)
        fine = (y >= 0) & (y <= 1)  # not of NaN
        return ~fine & self.known(y)

    def _fail(self, y: Tensor) -> None:
        first = y[self._wrong(y)][0].item()
        if math.isnan(first):
            remedy = "fill in -1 and give `Bernoulli(ignore_index=-1)` for labels nobody knows"
        elif first == int(first) and first > 1:
            remedy = "give `duda.Categorical()`, and a network with an output for each class"
        else:
            remedy = "give the value of labels nobody knows as `Bernoulli(ignore_index=...)`"
        found = "NaN" if math.isnan(first) else first
        raise ValueError(f"`y` holds {found}, expected 0 or 1, or probabilities: {remedy}.")

    def _weights(self, logits: Tensor) -> Tensor | None:
        """Return what labels that hold count, in the shape that fits the logits."""
        if self.pos_weight is None:
            return None
        weights = sent(torch.tensor(self.pos_weight, dtype=logits.dtype), logits.device)
        if weights.ndim and len(weights) != logits.shape[1]:
            raise ValueError(
                f"`pos_weight` has {len(weights)} weights, expected one, or one for each of "
                f"{logits.shape[1]} labels."
            )
        return weights.view(-1, *[1] * (logits.ndim - 2))

    def negative_log_likelihood(
        self, outputs: Float[Tensor, "N *outputs"], y: Shaped[Tensor, "N *targets"]
    ) -> Float[Tensor, ""]:
        """Return -w y log σ(z) - (1 - y) log σ(-z), summed over labels, then averaged."""
        logits = self.logits(at_least_float32(outputs))
        y, weights = self.placed(y), self._weights(logits)
        each = F.binary_cross_entropy_with_logits(
            logits,
            self._filled(y, logits),
            reduction="none",
            pos_weight=weights,
        )
        return self._mean(each, y)

    def _filled(self, y: Tensor, like: Tensor) -> Tensor:
        return (
            y.to(like.dtype)
            if self.ignore_index is None
            else (y.where(self.known(y), 0).to(like.dtype))
        )

    def _mean(self, each: Tensor, y: Tensor) -> Tensor:
        """Return the mean over terms of what labels cost, summed; nothing known costs 0."""
        if self.ignore_index is None:
            return each.sum(1).mean()
        return each.where(self.known(y), 0).sum() / self.terms(y).clamp(min=1)  # type: ignore[union-attr] # a tensor then

    def counted(self, y: Shaped[Tensor, "N *targets"]) -> Bool[Tensor, "N *positions"] | None:
        """Return which examples, times positions, have a label that is known; None for all."""
        return None if self.ignore_index is None else self.known(self.placed(y)).any(1)

    def prediction_loss(
        self, prediction: Prediction, y: Shaped[Tensor, "N *targets"]
    ) -> Float[Tensor, ""]:
        """Return the mean over terms of -log p(y), a sum over labels, without `pos_weight`."""
        return self.log_loss(prediction.as_classes().log_probs, y)  # type: ignore[attr-defined] # it can

    def log_loss(
        self, log_probs: Float[Tensor, "N 2 *labels"], y: Shaped[Tensor, "N *targets"]
    ) -> Float[Tensor, ""]:
        """Return the same of the log-probabilities that each label is false, and true."""
        y = self.placed(y)
        falses, trues = log_probs.view(len(y), 2, *y.shape[1:]).unbind(1)
        shares = self._filled(y, trues)
        each = -torch.where(shares > 0, shares * trues, 0)
        return self._mean(each - torch.where(shares < 1, (1 - shares) * falses, 0), y)

    def counts(self, outputs: Tensor, y: Tensor) -> Float[Tensor, "N L *positions"]:
        """Return how much each label counts: 1, `pos_weight` if it holds, 0 if unknown."""
        logits, y = self.logits(outputs), self.placed(y)
        weights = self._weights(logits)
        trues = self._filled(y, logits)
        each = torch.ones_like(trues) if weights is None else 1 + (weights - 1) * trues
        return each.where(self.known(y), 0)

    def shares(self, y: Shaped[Tensor, "N *targets"]) -> Float[Tensor, "N 2*L *positions"]:
        """Return how far each label is false, then how far it is true; 0 where nobody knows."""
        y = self.placed(y)
        trues, known = self._filled(y, y.new_empty((), dtype=torch.float32)), self.known(y)
        return torch.cat([(1 - trues).where(known, 0), trues], dim=1)

    def two_classes(self, draws: Float[Tensor, "M N *outputs"]) -> Float[Tensor, "M N 2 L *pos"]:
        """Return draws of raw outputs as logits of the classes 0 and 1 of each label."""
        logits = self.logits(draws, dim=2)
        weights = self._weights(logits[0]) if self.undo_weight else None
        logits = logits if weights is None else logits - weights.log()
        return torch.stack([torch.zeros_like(logits), logits], dim=2)

    def reduction(self, keep_draws: bool = False) -> Reduction:
        """Return an empty reduction of draws of logits."""
        return _BernoulliReduction(self, keep_draws)


def _are_classes(y: Tensor, logits: Tensor) -> bool:
    """Return whether targets are a class for each example or position."""
    return not y.is_floating_point() and y.shape == (len(logits), *logits.shape[2:])


class _BernoulliReduction(Reduction):
    """Streams the draws of each label as those of two classes."""

    def __init__(self, likelihood: Bernoulli, keep_draws: bool) -> None:
        self.likelihood = likelihood
        self.draws = ClassReduction(keep_draws)

    def add(self, draws: Float[Tensor, "M N *outputs"]) -> None:
        self.check_draws(draws)
        self.draws.add(self.likelihood.two_classes(at_least_float32(draws)))

    def result(self) -> ClassPrediction | BernoulliPrediction:
        return said_of_labels(self.draws.result())


def said_of_labels(by_label: ClassPrediction) -> ClassPrediction | BernoulliPrediction:
    """Return the prediction of several labels, or the classes of a single one."""
    found = BernoulliPrediction(by_label)
    return found if found.said_shape[0] > 1 else found.as_classes()
