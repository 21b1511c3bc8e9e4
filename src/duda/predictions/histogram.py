"""Histogram predictions of numbers: the probability of each of K bins, spread evenly within it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Self

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import (
    ArrayLike,
    as_tensor,
    at_least_float32,
    check_finite,
    check_same_shape,
    seeded,
)
from duda.devices import on_exact_device
from duda.doubts import doubt
from duda.predictions.numbers import NumberPrediction
from duda.predictions.piecewise import bin_of, binned_cdf, binned_crps, binned_quantile
from duda.predictions.terms import Bands, Parts
from duda.predictions.validity import (
    check_distributions,
    check_draws,
    check_log_probs,
    check_variances,
    finite_numbers,
)
from duda.probabilities import check_probs

__all__ = ["HistogramPrediction", "check_edges"]

_SHARES = (0.997, 0.95, 0.68)  # of bands, the widest below


@dataclass(frozen=True, eq=False, repr=False)
class HistogramPrediction(NumberPrediction):
    """The mean of M distributions over K bins of a number, each spread evenly within a bin.

    It is the exact mixture of the draws, whether these are kept or not. Outside of the edges the
    density is 0, and `log_prob` minus infinity: they are to hold all that can be.

    Args:
        log_probs: log of the mean probabilities, `(N, K, D, *positions)`.
        edges: of the bins, ascending, `(K + 1, D)` or `(K + 1)`, in units of the target.
        epistemic: variance over draws of their means, `(N, D, *positions)`; zero by default, in
            float64.
        draws: the draws' probabilities `(M, N, K, D, *positions)`, where they were kept.
        joint: whether a draw is one function for all examples.

    >>> answer = HistogramPrediction.from_probs([[[0.5], [0.5]]], edges=[0.0, 1.0, 3.0])
    >>> answer.mean, answer.quantile(0.75)
    (tensor([[1.2500]], dtype=torch.float64), tensor([[2.]], dtype=torch.float64))
    """

    log_probs: Float[Tensor, "N K D *positions"]
    edges: Float[Tensor, "K+1 D"]
    epistemic: Float[Tensor, "N D *positions"] = None  # type: ignore[assignment]
    draws: Float[Tensor, "M N K D *positions"] | None = None
    joint: bool = field(default=False, kw_only=True)

    derived: ClassVar[tuple[str, ...]] = ("mean", "aleatoric", "std", "score")
    shared: ClassVar[tuple[str, ...]] = ("edges",)

    def __post_init__(self) -> None:
        log_probs = at_least_float32(as_tensor(self.log_probs, "log_probs"))
        if log_probs.ndim < 3:
            raise ValueError(
                f"`log_probs` has shape {tuple(log_probs.shape)}, expected (N, K, D, *positions)."
            )
        count, outputs = log_probs.shape[1:3]
        edges = as_tensor(self.edges, "edges").to(log_probs.device).double()
        edges = edges.unsqueeze(1).expand(-1, outputs) if edges.ndim == 1 else edges
        check_same_shape(edges, "edges", (count + 1, outputs), "the bins, and one more")
        check_edges(edges)
        check_log_probs(log_probs, "log_probs")
        each = (len(log_probs), *log_probs.shape[2:])
        given = self.epistemic
        epistemic = (
            torch.zeros(each, device=log_probs.device).double()
            if given is None
            else finite_numbers(given, "epistemic")
        )
        check_same_shape(epistemic, "epistemic", each, "`log_probs` without the bins")
        check_variances(epistemic, "epistemic", remedy="")
        check_draws(self.draws, tuple(log_probs.shape))
        if self.draws is not None:
            check_distributions(self.draws, "draws")
        for name, value in (("log_probs", log_probs), ("edges", edges), ("epistemic", epistemic)):
            object.__setattr__(self, name, value)

    @classmethod
    def from_probs(cls, probs: ArrayLike, edges: ArrayLike) -> Self:
        """Return the prediction of one network that gave `probs` `(N, K, D, *positions)`.

        Raises:
            ValueError: if they are no distributions over the bins.
        """
        values = check_probs(as_tensor(probs, "probs"), remedy="pass a softmax over the bins")
        return cls(at_least_float32(values).log().log_softmax(1), as_tensor(edges, "edges"))

    @property
    def said_shape(self) -> tuple[int, ...]:
        """The shape (D, *positions) of what is said of each example."""
        return tuple(self.log_probs.shape[2:])

    @property
    def probs(self) -> Float[Tensor, "N K D *positions"]:
        """Mean probability of each bin."""
        return self.log_probs.exp()

    @cached_property
    def _bins(self) -> tuple[Tensor, Tensor]:
        """Probabilities `(N, D, *positions, K)`, and edges that fit these, both in float64."""
        probs = on_exact_device(self.log_probs).double().softmax(1).movedim(1, -1)
        edges = on_exact_device(self.edges).T
        return probs, edges.view(len(edges), *[1] * (probs.ndim - 3), -1)

    @cached_property
    def _moments(self) -> tuple[Tensor, Tensor]:
        """Mean and variance, in float64, by distances to the middle, which lose no digits."""
        probs, edges = self._bins
        middle = (edges[..., :1] + edges[..., -1:]) / 2
        places, widths = (edges[..., 1:] + edges[..., :-1]) / 2 - middle, edges.diff(dim=-1)
        mean = (probs * places).sum(-1, keepdim=True)
        spread = (places - mean).square() + widths.square() / 12
        return (middle + mean).squeeze(-1), (probs * spread).sum(-1)

    @property
    def mean(self) -> Float[Tensor, "N D *positions"]:  # type: ignore[override] # of the bins
        """Mean, in units of the target, in the dtype of `epistemic` as the other moments."""
        return self._moments[0].to(self.epistemic)

    @property
    def variance(self) -> Float[Tensor, "N D *positions"]:
        """Total variance."""
        return self._moments[1].to(self.epistemic)

    @property
    def std(self) -> Float[Tensor, "N D *positions"]:  # type: ignore[override] # of the bins
        """Standard deviation."""
        return self._moments[1].sqrt().to(self.epistemic)

    @property
    def aleatoric(self) -> Float[Tensor, "N D *positions"]:
        """Mean over draws of their variances: what of the variance is not epistemic."""
        return (self.variance - self.epistemic).clamp(min=0)

    def with_epistemic(self, epistemic: Float[Tensor, "N D *positions"]) -> Self:
        """Return the prediction with that part of its variance epistemic, all else aleatoric."""
        return replace(self, epistemic=epistemic)._with_drawn(self.drawn)

    def parts(self) -> Parts:
        """Return both parts as standard deviations, in units of the target."""
        return Parts(self.aleatoric.sqrt(), self.epistemic.sqrt(), self.score_unit)

    def quantile(self, q: float) -> Float[Tensor, "N D *positions"]:
        """Return the value below which the target lies with probability `q`.

        Raises:
            ValueError: unless 0 < `q` < 1.
        """
        if not 0 < q < 1:
            raise ValueError(f"`q` is {q}, expected a probability between 0 and 1.")
        probs, edges = self._bins
        return _quantile(probs.new_full((*probs.shape[:-1], 1), q), probs, edges).squeeze(-1)

    def cdf(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        """Return the probability that the target is at most `y`, of the centre's shape."""
        return binned_cdf(self._target(y), *self._bins)

    def log_prob(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        """Return the log-density at `y`, nats; minus infinity outside of the edges."""
        target, edges = self._target(y), self._bins[1]
        log_probs = on_exact_device(self.log_probs).double().log_softmax(1).movedim(1, -1)
        place, count = bin_of(target, edges), log_probs.shape[-1]
        density = log_probs - edges.diff(dim=-1).log()
        found = density.gather(-1, place.clamp(0, count - 1).unsqueeze(-1)).squeeze(-1)
        return torch.where((place >= 0) & (place < count), found, -torch.inf)

    def sample(self, count: int, seed: int | None = None) -> Float[Tensor, "S N D *positions"]:
        """Return `count` targets drawn for each output by itself."""
        probs, edges = self._bins
        size = (count, *probs.shape[:-1])
        uniform = torch.rand(size, generator=seeded(seed), dtype=torch.float64).to(probs.device)
        return _quantile(uniform.movedim(0, -1), probs, edges).movedim(-1, 0)

    def crps(self, y: ArrayLike) -> Float[Tensor, "N D *positions"]:
        """Return the CRPS at `y`, in units of the target, float64: exactly, as for any line."""
        return binned_crps(self._target(y), *self._bins)

    def components(self) -> Sequence[Self]:
        """Return the prediction of each draw; itself alone where no draws were kept."""
        if self.draws is None:
            return [self]
        none = torch.zeros_like(self.epistemic)
        return [replace(self, log_probs=p.log(), epistemic=none, draws=None) for p in self.draws]

    def affine(self, factor: Tensor, offset: Tensor) -> NumberPrediction:
        """Return that of `offset + factor * y`, of the family where all examples have the same."""
        outputs, alike = self.said_shape[0], self.centre.ndim - 1
        for each in (factor, offset):
            if each.ndim > alike or any(size != 1 for size in each.shape[1:]):
                return super().affine(factor, offset)
        factor, offset = (each.reshape(-1).expand(outputs) for each in (factor, offset))
        square = factor.square().view(-1, *[1] * (self.centre.ndim - 2))
        return replace(
            self, edges=offset + factor * self.edges, epistemic=square * self.epistemic.double()
        )._with_drawn(self.drawn)

    def bands(self) -> Bands:
        """Return what to draw about a curve: central intervals."""
        ends = [self.interval(share) for share in _SHARES]
        return Bands("mean", "should hold 68, 95 and 99.7 % of the true values", ends)


def check_edges(edges: Float[Tensor, "K+1 *rest"]) -> None:
    """Raise a `ValueError` unless finite edges ascend along the first dimension."""
    check_finite(edges, "edges")

    def look() -> None:
        steps = edges.diff(dim=0)
        raise ValueError(
            f"`edges` has a step of {float(steps.min()):.4g}, expected edges of bins that ascend."
        )

    doubt(lambda: (edges.diff(dim=0) <= 0).any(), look)


def _quantile(q: Tensor, probs: Tensor, edges: Tensor) -> Tensor:
    """Return quantiles; the last edge where rounding leaves a sum of probabilities below `q`."""
    return binned_quantile(q, probs, edges).minimum(edges[..., -1:])
