"""Classes: raw outputs are logits, draws of them average to a `ClassPrediction`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from duda.checks import at_least_float32, check_not_empty, check_probs, check_same_shape
from duda.likelihoods.base import Likelihood, Reduction
from duda.predictions.classes import ClassPrediction, entropy

__all__ = ["Categorical"]


@dataclass(frozen=True)
class Categorical(Likelihood):
    """Class logits `(N, C, *positions)`; integer labels, or soft ones such as shares of votes.

    Args:
        ignore_index: the integer label of positions that are no targets, such as unlabelled pixels;
            they add nothing to the loss.

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

    def reduction(self, keep_draws: bool = False) -> Reduction:
        """Return an empty reduction of draws of logits."""
        return _ClassReduction(keep_draws)


class _ClassReduction(Reduction):
    """Streams Σ p, Σ H(p) and the votes, in float64 and integers.

    Σ p is kept as log max p and the multiple of max p that it is: nothing underflows, and draws
    that agree have exactly their own mean.
    """

    def __init__(self, keep_draws: bool) -> None:
        self.kept: list[Tensor] | None = [] if keep_draws else None
        self.count = 0

    def add(self, draws: Float[Tensor, "M N C *positions"]) -> None:
        self.check_draws(draws)
        if draws.ndim < 3 or draws.shape[2] < 2:
            raise ValueError(
                f"`draws` has shape {tuple(draws.shape)}, expected (M, N, C, *positions) with at "
                "least two classes."
            )
        log_probs = at_least_float32(draws).log_softmax(2)
        # The clamp lets -inf - peak be -inf, not NaN, for a class that no draw allows.
        peak = log_probs.amax(0).clamp(min=torch.finfo(log_probs.dtype).min)
        multiple = (log_probs - peak).exp().sum(0, dtype=torch.float64)
        peak = peak.double()
        entropy_sum = entropy(log_probs, dim=2).sum(0, dtype=torch.float64)
        first = log_probs.argmax(2).transpose(0, 1)
        if self.count == 0:
            self.dtype = log_probs.dtype
            self.peak, self.multiple, self.entropy_sum = peak, multiple, entropy_sum
            self.votes = torch.zeros_like(peak, dtype=torch.int32)
        else:
            top = torch.maximum(self.peak, peak)
            self.multiple = self.multiple * (self.peak - top).exp() + multiple * (peak - top).exp()
            self.peak = top
            self.entropy_sum = self.entropy_sum + entropy_sum
        self.votes.scatter_add_(1, first, torch.ones_like(first, dtype=torch.int32))
        self.count += len(draws)
        if self.kept is not None:
            self.kept.append(log_probs.exp())

    def result(self) -> ClassPrediction:
        if self.count == 0:
            raise ValueError("there are no draws to reduce: `add` at least one.")
        return ClassPrediction(
            log_probs=(self.peak + (self.multiple / self.count).log()).to(self.dtype),
            aleatoric=(self.entropy_sum / self.count).to(self.dtype),
            votes=self.votes,
            draws=None if self.kept is None else torch.cat(self.kept),
        )
