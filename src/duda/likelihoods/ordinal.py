"""Ordinal likelihood: classes in an order, by cut points on a line (cumulative link, RPS)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar
from warnings import warn

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from duda.checks import at_least_float32, check_whole
from duda.doubts import doubt
from duda.likelihoods.base import Likelihood, Reduction
from duda.likelihoods.categorical import Categorical
from duda.likelihoods.class_draws import ClassReduction
from duda.likelihoods.outputs import check_dim, outputs_first
from duda.likelihoods.running import RunningMoments
from duda.predictions import OrdinalPrediction, Prediction
from duda.predictions.ordinal import expected_class

__all__ = ["Ordinal"]

_LOOKED_AT = 1024  # classes that may lack examples


@dataclass(frozen=True)
class Ordinal(Likelihood):
    """K classes in an order, from K - 1 raw outputs: a location f, then K - 2 raw gaps.

    P(y <= k) = σ(c_k - f). The cut points c are softplus(raw gap) apart and 0 on average, so that
    they are always in order, and belong to the network, as all that a method draws, copies or
    saves. They may differ by input; `layers.CutPoints` at the network's end has them in common, the
    proportional odds of McCullagh 1980. Source: Agresti 2010, "Analysis of ordinal categorical
    data", chapter 3.

    Args:
        ignore_index: as in `Categorical`.
        class_dim: -1 where the network puts out `(N, *positions, K - 1)`.

    >>> Ordinal().reduce(torch.zeros(1, 1, 2)).probs
    tensor([[0.4142, 0.1716, 0.4142]])
    """

    of_classes: ClassVar[bool] = True

    ignore_index: int | None = None
    class_dim: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_dim(self.class_dim, "class_dim")
        if self.ignore_index is not None:
            check_whole(self.ignore_index, "ignore_index")

    @property
    def output_dim(self) -> int | None:  # type: ignore[override]
        """The dimension of the outputs, if it was given."""
        return self.class_dim

    @property
    def _categorical(self) -> Categorical:
        return Categorical(self.ignore_index)

    def width(self, targets: int) -> int:
        """Return K - 1: a location, and the gaps between K - 1 cut points."""
        return targets - 1

    def log_probs(self, outputs: Tensor, dim: int = 1) -> Tensor:
        """Return the K log-probabilities along `dim`.

        log P(k) = log σ(c_k - f) + log σ(f - c_{k-1}) + log σ(raw gap), without a difference.
        """
        outputs = outputs_first(outputs, self.class_dim, dim)
        if outputs.ndim <= dim or outputs.shape[dim] < 1:
            raise ValueError(
                f"the network's outputs have shape {tuple(outputs.shape)}, expected K - 1 numbers "
                f"on dimension {dim} for K classes: a location, then K - 2 gaps."
            )
        location, gaps = outputs.tensor_split((1,), dim)
        above = F.pad(F.softplus(gaps).cumsum(dim).movedim(dim, -1), (1, 0)).movedim(-1, dim)
        cuts = above - above.mean(dim, keepdim=True) - location
        at_most, more = F.logsigmoid(cuts), F.logsigmoid(-cuts)
        inner = at_most.narrow(dim, 1, gaps.shape[dim]) + more.narrow(dim, 0, gaps.shape[dim])
        first, last = at_most.narrow(dim, 0, 1), more.narrow(dim, -1, 1)
        return torch.cat([first, inner + F.logsigmoid(gaps), last], dim)

    def check_targets(
        self, outputs: Float[Tensor, "N K-1 *positions"], y: Shaped[Tensor, "N *targets"]
    ) -> None:
        """Raise a `ValueError` unless `y` holds labels below K, or distributions over K classes."""
        self._categorical.check_targets(self.log_probs(outputs), self._first(y))

    def look_at_targets(self, targets: Callable[[], Iterator[Tensor]]) -> None:
        """Warn of classes that do not occur although higher ones do."""
        seen: Tensor | None = None
        for y in targets():
            if y.is_floating_point():
                return
            if seen is None:
                seen = torch.zeros(_LOOKED_AT + 1, dtype=torch.bool, device=y.device)
            ignored = _LOOKED_AT if self.ignore_index is None else self.ignore_index
            # The last place is for all else.
            places = y.long().masked_fill(y == ignored, _LOOKED_AT).clamp(0, _LOOKED_AT)
            seen.index_fill_(0, places.flatten(), True)
        if seen is not None:
            found = seen[:-1]
            doubt(lambda: _skipped(found).any(), lambda: _warn_of_gaps(found))

    def harmless(
        self, outputs: Float[Tensor, "N K-1 *positions"], y: Shaped[Tensor, "N *targets"]
    ) -> Shaped[Tensor, "N *targets"]:
        """Return labels of which none lies beyond the classes."""
        return self._categorical.harmless(self.log_probs(outputs), y)

    def _first(self, y: Tensor) -> Tensor:
        """Return targets with classes, if they have some, on dimension 1."""
        return outputs_first(y, self.class_dim) if y.is_floating_point() else y

    def negative_log_likelihood(
        self, outputs: Float[Tensor, "N K-1 *positions"], y: Shaped[Tensor, "N *targets"]
    ) -> Float[Tensor, ""]:
        """Return the cross-entropy, the mean over examples and the positions that count."""
        log_probs = self.log_probs(at_least_float32(outputs))
        return self._categorical.negative_log_likelihood(log_probs, self._first(y))

    def terms(self, y: Shaped[Tensor, "N *targets"]) -> int | Int[Tensor, ""]:
        """Return how many labels, or distributions over the classes, count."""
        return self._categorical.terms(self._first(y))

    def prediction_loss(
        self, prediction: Prediction, y: Shaped[Tensor, "N *targets"]
    ) -> Float[Tensor, ""]:
        """Return the cross-entropy of the mean probabilities."""
        return self._categorical.prediction_loss(prediction, self._first(y))

    def reduction(self, keep_draws: bool = False) -> Reduction:
        """Return an empty reduction of draws of raw outputs."""
        return _OrdinalReduction(self, keep_draws)


class _OrdinalReduction(ClassReduction):
    """Streams what it does of classes, and the variance over draws of the expected class."""

    def __init__(self, likelihood: Ordinal, keep_draws: bool) -> None:
        super().__init__(
            keep_draws, lambda draws: likelihood.log_probs(at_least_float32(draws), dim=2)
        )
        self.expected = RunningMoments()

    def split(self, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Return what it does of classes, and take note of the expected class of each draw."""
        log_probs, entropies = super().split(draws)
        self.expected.add(expected_class(log_probs.exp(), dim=2))
        return log_probs, entropies

    def result(self) -> OrdinalPrediction:
        """Return the mean of all draws so far."""
        mean = super().result()
        return OrdinalPrediction(
            mean.log_probs,
            mean.aleatoric,
            mean.votes,
            mean.draws,
            epistemic_variance=self.expected.variance.to(mean.log_probs.dtype),
        )


def _skipped(seen: Bool[Tensor, "K"]) -> Bool[Tensor, "K"]:
    """Return which classes are not seen although higher ones are."""
    return ~seen & (seen.flip(0).cumsum(0).flip(0) > 0)


def _warn_of_gaps(seen: Bool[Tensor, "K"]) -> None:
    missing = ", ".join(map(str, _skipped(seen).nonzero().flatten().tolist()))
    warn(
        f"`y` has no label {missing} although it has {int(seen.nonzero().max())}, expected every "
        "class of an order to occur, as nothing tells where one without examples lies: number the "
        "classes without gaps, from 0.",
        stacklevel=2,
    )
