"""Draws of classes: their mean probabilities, and how far they disagree."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import at_least_float32
from duda.likelihoods.base import Reduction
from duda.predictions.classes import ClassPrediction

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
        """Return each draw's log-probabilities, and the entropy it gives to a label, nats.

        A class of a larger output is no less probable: votes go by the outputs, where rounding
        does not make classes alike.
        """
        log_probs = draws.log_softmax(2)
        # 0 log 0 is NaN, and counts as 0; what else is NaN is so in the log-probabilities.
        terms = log_probs.exp() * log_probs
        return log_probs, 0.0 - terms.nansum(2, dtype=torch.float64)  # not -0

    def add(self, draws: Float[Tensor, "M N C *positions"]) -> None:
        """Take in M more draws of raw outputs."""
        self.check_draws(draws)
        if self.logits is not None and draws.ndim > 2:
            draws = self.logits(draws)
        if draws.ndim < 3 or draws.shape[2] < 2:
            raise ValueError(
                f"`draws` has shape {tuple(draws.shape)}, expected (M, N, C, *positions) with at "
                "least two classes: for one logit give `duda.Bernoulli()`."
            )
        draws = at_least_float32(draws)
        log_probs, entropies = self.split(draws)
        peak = log_probs.amax(0)
        # Of a class that no draw allows -inf - peak is NaN, and counts as 0.
        multiple = (log_probs - peak).exp().nansum(0, dtype=torch.float64)
        entropy_sum = entropies.sum(0, dtype=torch.float64)
        first = draws.argmax(2).transpose(0, 1)
        if self.count == 0:
            self.peak, self.multiple, self.entropy_sum = peak, multiple, entropy_sum
            self.votes = torch.zeros_like(peak, dtype=torch.int32)
        else:
            self._merge(peak, multiple)
            self.entropy_sum = self.entropy_sum + entropy_sum
        self.votes.scatter_(1, first, 1, reduce="add")
        self.count += len(draws)
        if self.kept is not None:
            self.kept.append(log_probs.exp())

    def _merge(self, peak: Tensor, multiple: Tensor) -> None:
        """Take in Σ p of more draws."""
        top = torch.maximum(self.peak, peak)
        least = top.double().clamp(min=torch.finfo(top.dtype).min)  # or -inf - top is NaN
        self.multiple = self.multiple * (self.peak - least).exp() + multiple * (peak - least).exp()
        self.peak = top

    def result(self) -> ClassPrediction:
        """Return the mean of all draws so far."""
        if self.count == 0:
            raise ValueError("there are no draws to reduce: `add` at least one.")
        dtype = self.peak.dtype
        return ClassPrediction(
            log_probs=(self.peak + (self.multiple / self.count).log()).to(dtype),
            aleatoric=(self.entropy_sum / self.count).to(dtype),
            votes=self.votes,
            draws=None if self.kept is None else torch.cat(self.kept),
        )
