"""Draws of classes: their mean probabilities, and how far they disagree."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import at_least_float32
from duda.likelihoods.base import Reduction
from duda.predictions.classes import ClassPrediction, entropy

__all__ = ["ClassReduction"]


class ClassReduction(Reduction):
    """Streams Σ p, Σ H(p) and the votes of draws of logits, in float64 and integers.

    Σ p is kept as log max p and the multiple of max p that it is: nothing underflows, and draws
    that agree have exactly their own mean.

    Args:
        keep_draws: whether to keep each draw's probabilities.
        logits: makes logits of draws of raw outputs, classes on dimension 2, if they are not.
    """

    def __init__(self, keep_draws: bool, logits: Callable[[Tensor], Tensor] | None = None) -> None:
        self.logits = logits
        self.kept: list[Tensor] | None = [] if keep_draws else None
        self.count = 0

    def split(self, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Return each draw's log-probabilities, and the entropy it gives to a label, nats."""
        log_probs = draws.log_softmax(2)
        return log_probs, entropy(log_probs, dim=2)

    def add(self, draws: Float[Tensor, "M N C *positions"]) -> None:
        """Take in M more draws of raw outputs."""
        self.check_draws(draws)
        if self.logits is not None and draws.ndim > 2:
            draws = self.logits(draws)
        if draws.ndim < 3 or draws.shape[2] < 2:
            raise ValueError(
                f"`draws` has shape {tuple(draws.shape)}, expected (M, N, C, *positions) with at "
                "least two classes."
            )
        log_probs, entropies = self.split(at_least_float32(draws))
        # The clamp lets -inf - peak be -inf, not NaN, for a class that no draw allows.
        peak = log_probs.amax(0).clamp(min=torch.finfo(log_probs.dtype).min)
        multiple = (log_probs - peak).exp().sum(0, dtype=torch.float64)
        peak = peak.double()
        entropy_sum = entropies.sum(0, dtype=torch.float64)
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
        self.votes.scatter_(1, first, 1, reduce="add")
        self.count += len(draws)
        if self.kept is not None:
            self.kept.append(log_probs.exp())

    def result(self) -> ClassPrediction:
        """Return the mean of all draws so far."""
        if self.count == 0:
            raise ValueError("there are no draws to reduce: `add` at least one.")
        return ClassPrediction(
            log_probs=(self.peak + (self.multiple / self.count).log()).to(self.dtype),
            aleatoric=(self.entropy_sum / self.count).to(self.dtype),
            votes=self.votes,
            draws=None if self.kept is None else torch.cat(self.kept),
        )
