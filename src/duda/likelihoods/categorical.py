"""Categorical likelihood: raw outputs are logits, draws of them average to a `ClassPrediction`."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from duda.checks import at_least_float32, check_not_empty, check_probs, check_same_shape
from duda.likelihoods.base import Likelihood, Reduction
from duda.likelihoods.class_draws import ClassReduction
from duda.predictions import Prediction

__all__ = ["Categorical"]


@dataclass(frozen=True)
class Categorical(Likelihood):
    """Class logits `(N, C, *positions)`; integer labels, or soft ones such as shares of votes.

    Args:
        ignore_index: the integer label of positions that are no targets, such as unlabelled pixels;
            they add nothing to the loss.

    >>> import torch
    >>> Categorical().loss(torch.zeros(3, 2), torch.tensor([0, 1, 1]))
    tensor(0.6931)
    """

    ignore_index: int | None = None

    def width(self, targets: int) -> int:
        """Return the number of classes: one logit each."""
        return targets

    def check_targets(
        self, outputs: Float[Tensor, "N C *positions"], y: Shaped[Tensor, "N *targets"]
    ) -> None:
        """Raise a `ValueError` unless `y` holds labels below C, or distributions over C classes."""
        if outputs.ndim < 2 or outputs.shape[1] < 2:
            raise ValueError(
                f"the network's outputs have shape {tuple(outputs.shape)}, expected "
                "(N, C, *positions) with at least two classes: for two classes give two logits."
            )
        check_not_empty(outputs, "y")
        each = (len(outputs), *outputs.shape[2:])
        if y.is_floating_point():
            if y.shape == each:
                raise ValueError(
                    f"`y` has shape {each} and dtype {y.dtype}, expected integer labels, or a "
                    "share for each class: call `y.long()`."
                )
            check_same_shape(y, "y", tuple(outputs.shape), "the outputs, one share for each class")
            check_probs(y, "y", "divide counts of votes by their sum over the classes")
            return
        check_same_shape(y, "y", each, "the outputs without their classes")
        wrong = (y < 0) | (y >= outputs.shape[1])
        if self.ignore_index is not None:
            wrong &= y != self.ignore_index
        if bool(wrong.any()):
            raise ValueError(
                f"`y` holds the label {int(y[wrong][0])}, expected 0 to {outputs.shape[1] - 1}: "
                "give a label to skip as `Categorical(ignore_index=...)`."
            )

    def negative_log_likelihood(
        self, outputs: Float[Tensor, "N C *positions"], y: Shaped[Tensor, "N *targets"]
    ) -> Float[Tensor, ""]:
        """Return the cross-entropy, the mean over examples and the positions that count."""
        outputs = at_least_float32(outputs)
        if y.is_floating_point():
            return F.cross_entropy(outputs, y.to(outputs.dtype))
        if self.ignore_index is None:
            return F.cross_entropy(outputs, y.long())
        total = F.cross_entropy(outputs, y.long(), ignore_index=self.ignore_index, reduction="sum")
        # A batch without a single labelled position has loss 0, not 0 / 0.
        return total / (y != self.ignore_index).sum().clamp(min=1)

    def terms(self, y: Shaped[Tensor, "N *targets"]) -> int | Int[Tensor, ""]:
        """Return how many labels, or distributions over the classes, count."""
        if y.is_floating_point():
            return super().terms(y)
        return y.numel() if self.ignore_index is None else (y != self.ignore_index).sum()

    def prediction_loss(
        self, prediction: Prediction, y: Shaped[Tensor, "N *targets"]
    ) -> Float[Tensor, ""]:
        """Return the cross-entropy of the probabilities, over the positions that count."""
        log_probs: Tensor = prediction.log_probs  # type: ignore[attr-defined] # of classes
        return Categorical.negative_log_likelihood(self, log_probs, y)

    def reduction(self, keep_draws: bool = False) -> Reduction:
        """Return an empty reduction of draws of logits."""
        return ClassReduction(keep_draws)
