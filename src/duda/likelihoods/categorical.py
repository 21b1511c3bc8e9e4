"""Categorical likelihood: raw outputs are logits, draws of them average to a `ClassPrediction`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from duda.checks import at_least_float32, check_not_empty, check_same_shape, check_whole
from duda.doubts import doubt
from duda.likelihoods.base import Likelihood, Reduction
from duda.likelihoods.class_draws import ClassReduction
from duda.likelihoods.outputs import CHANCE, check_dim, check_no_probs, log_of_probs, outputs_first
from duda.predictions import Prediction
from duda.probabilities import check_probs, odd_probs

__all__ = ["Categorical"]

_REMEDY = "logits: remove that last layer, or give `Categorical(probs=True)` if it is meant"


@dataclass(frozen=True)
class Categorical(Likelihood):
    """Class logits `(N, C, *positions)`; integer labels, or soft ones such as shares of votes.

    Args:
        ignore_index: the integer label of positions that are no targets, such as unlabelled pixels;
            they add nothing to the loss.
        class_dim: -1 where the network puts out `(N, *positions, C)`; soft labels lie as these do.
            Predictions have their classes on dimension 1 anyway.
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
        each = (len(outputs), *outputs.shape[2:])
        if y.is_floating_point():
            if y.shape == each:
                raise ValueError(
                    f"`y` has shape {each} and dtype {y.dtype}, expected integer labels, or a "
                    "share for each class: call `y.long()`."
                )
            y = outputs_first(y, self.class_dim)
            check_same_shape(y, "y", tuple(outputs.shape), "the outputs, one share for each class")
            remedy = "divide counts of votes by their sum over the classes"
            doubt(partial(odd_probs, y), partial(check_probs, y, "y", remedy), y.nbytes)
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
        """Return draws of raw outputs as logits, with the classes on dimension 2."""
        draws = outputs_first(draws, self.class_dim, dim=2)
        return log_of_probs(draws, dim=2) if self.probs else draws

    def negative_log_likelihood(
        self, outputs: Float[Tensor, "N C *positions"], y: Shaped[Tensor, "N *targets"]
    ) -> Float[Tensor, ""]:
        """Return the cross-entropy, the mean over examples and the positions that count."""
        outputs = outputs_first(at_least_float32(outputs), self.class_dim)
        if self.probs:
            possible = outputs > 0  # or else the gradient is 0 / 0
            outputs = outputs.where(possible, 1).log().where(possible, -torch.inf)
        if y.is_floating_point():
            shares = outputs_first(y, self.class_dim).to(outputs.dtype)
            terms = outputs.log_softmax(1).mul(shares).where(shares > 0, 0)
            return terms.sum(1).mean().neg() if self.probs else F.cross_entropy(outputs, shares)
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
        y = outputs_first(y, self.class_dim) if y.is_floating_point() else y
        return Categorical(self.ignore_index).negative_log_likelihood(log_probs, y)

    def reduction(self, keep_draws: bool = False) -> Reduction:
        """Return an empty reduction of draws of logits."""
        return ClassReduction(keep_draws, self.logits)
