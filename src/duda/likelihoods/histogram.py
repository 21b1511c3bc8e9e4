"""Histogram likelihood: a number as classification over bins, with smoothed targets (HL-Gauss)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NoReturn, Self

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from duda.checks import at_least_float32, check_at_least_0, check_count
from duda.doubts import doubt
from duda.likelihoods.base import Reduction
from duda.likelihoods.class_draws import ClassReduction
from duda.likelihoods.missing import marked_missing
from duda.likelihoods.numbers import NumberLikelihood
from duda.likelihoods.outputs import CHANCE, check_no_probs, in_groups, outputs_first
from duda.likelihoods.running import RunningMoments
from duda.likelihoods.target_scale import TargetScale
from duda.predictions import NumberPrediction
from duda.predictions.histogram import HistogramPrediction, check_edges
from duda.transfer import sent

__all__ = ["Histogram"]

_BINS = 50
_REACH = 5.0  # standard deviations of the targets that bins go to, at least
_MARGIN = 1.1  # how much farther they go than the farthest target


@dataclass(frozen=True)
class Histogram(NumberLikelihood):
    """K D raw outputs on dimension 1: D logits of the first bin, D of the second, ...

    The loss is the cross-entropy to the bins' shares of a normal distribution about the target
    (HL-Gauss), relative to their widths, so that without smoothing it is -log of the predicted
    density. By default bins are of one width, from 5 standard deviations below the mean of the
    training targets to 5 above, or as much farther as some of these lie; `duda.fit` finds both.
    Source: Imani & White 2018; Farebrother et al. 2024.

    Args:
        bins: their number K; 50 by default, or as many as the edges make.
        edges: of the bins, ascending, in units of the target, the same for all D targets.
        smoothing: standard deviation of that normal distribution, in widths of the target's bin.

    >>> Histogram(edges=(0.0, 1.0, 3.0)).loss(torch.zeros(1, 2), torch.tensor([[0.5]]))
    tensor(0.9270)
    """

    bins: int | None = None
    edges: tuple[float, ...] | None = field(default=None, kw_only=True)
    smoothing: float = field(default=0.75, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_at_least_0(self.smoothing, "smoothing", "standard deviation")
        if self.edges is None:
            count = _BINS if self.bins is None else check_count(self.bins, "bins", least=2)
            object.__setattr__(self, "bins", count)
            return
        edges = torch.as_tensor(self.edges, dtype=torch.float64)
        if edges.ndim != 1 or len(edges) < 3 or self.bins not in (None, len(edges) - 1):
            raise ValueError(
                f"`edges` has shape {tuple(edges.shape)}, expected the K + 1 edges of "
                f"{self.bins or 'at least 2'} bins."
            )
        check_edges(edges)
        object.__setattr__(self, "bins", len(edges) - 1)
        object.__setattr__(self, "edges", tuple(edges.tolist()))

    @property
    def takes_scale(self) -> bool:
        """Whether the bins follow from the training targets."""
        return self.edges is None

    def with_target_scale(self, scale: TargetScale | None) -> Self:
        """Return the likelihood of bins in other units."""
        if scale is not None and self.edges is not None:
            raise TypeError(
                f"`target_scale` is {scale}, but `edges` are in units of the target: leave one out."
            )
        return super().with_target_scale(scale)

    def scale_of(self, batches: Iterator[Tensor]) -> TargetScale:
        """Return units in which all targets lie within the bins."""
        ends: list[tuple[Tensor, Tensor]] = []

        def noted() -> Iterator[Tensor]:
            for y in batches:
                if y.numel():
                    rows = self._columns(y).double().movedim(1, -1).flatten(0, -2)
                    missing = rows.isnan()
                    low = rows.masked_fill(missing, torch.inf).amin(0)
                    ends.append((low, rows.masked_fill(missing, -torch.inf).amax(0)))
                yield marked_missing(y, self.missing)

        found = TargetScale.of(noted(), self.output_dim, missing=self.missing is not None)
        low = torch.stack([each[0] for each in ends]).amin(0)
        high = torch.stack([each[1] for each in ends]).amax(0)
        reach = torch.maximum(high - found.mean, found.mean - low) * _MARGIN / _REACH
        return TargetScale(found.mean, torch.maximum(found.std, reach))

    def width(self, targets: int) -> int:
        """Return K D: a logit for each bin and target."""
        return self._count * targets

    @property
    def _count(self) -> int:
        return self.bins or _BINS

    def bin_edges(self, device: torch.device | str = "cpu") -> Float[Tensor, "K+1"]:
        """Return the edges in units of the outputs, in float64."""
        if self.edges is None:
            edges = torch.linspace(-_REACH, _REACH, self._count + 1, dtype=torch.float64)
        else:
            edges = torch.tensor(self.edges, dtype=torch.float64)
        return sent(edges, torch.device(device))

    def logits(self, outputs: Tensor, dim: int = 1) -> Tensor:
        """Return the outputs with `dim` split into bins and targets, K and D."""
        outputs = outputs_first(outputs, self.output_dim, dim)
        return in_groups(outputs, self._count, dim, f"each of the {self._count} bins")

    def check_outputs(
        self, outputs: Float[Tensor, "N K*D *positions"], chance: float = CHANCE
    ) -> None:
        """Raise a `ValueError` if the logits of the bins are probabilities."""
        check_no_probs(self.logits(outputs), "logits: remove that last layer", chance)

    def check_targets(
        self, outputs: Float[Tensor, "N K*D *positions"], y: Shaped[Tensor, "N D *positions"]
    ) -> None:
        """Raise a `ValueError` unless `y` lies within the edges, and has the predicted shape."""
        self.check_beside(y, self.logits(outputs)[:, 0].double(), "the predicted numbers")
        if self._are_known:
            self._check_inside(y)

    @property
    def _are_known(self) -> bool:
        """Whether the bins are those that count, not those before a training finds its own."""
        return self.edges is not None or self.target_scale is not None

    def look_at_targets(self, targets: Callable[[], Iterator[Tensor]]) -> None:
        """Raise a `ValueError` if a target of a training lies outside of the bins."""
        for y in targets():
            self._check_inside(y)

    def _check_inside(self, y: Tensor) -> None:
        """Raise a `ValueError` unless targets lie within the edges."""
        doubt(lambda: self._outside(y).any(), lambda: self._fail(y), y.nbytes)

    def _columns(self, y: Tensor) -> Float[Tensor, "N D *positions"]:
        """Return targets with the outputs, be it a single one, on dimension 1; missing as NaN."""
        y = marked_missing(y, self.missing)
        return outputs_first(y if y.ndim > 1 else y.unsqueeze(1), self.output_dim)

    def _outside(self, y: Tensor) -> Bool[Tensor, "N D *positions"]:
        """Return which targets, as `_columns`, have no bin."""
        y = self._columns(y).double()
        y = y if self.target_scale is None else self.target_scale.in_units(y)
        first, last = self.bin_edges(y.device)[[0, -1]]
        outside: Tensor = ~((y >= first) & (y <= last))
        return outside if self.missing is None else outside & ~y.isnan()

    def _fail(self, y: Tensor) -> NoReturn:
        wrong = self._columns(y)[self._outside(y)]
        remedy = "give `duda.Histogram(edges=...)` that hold all that can be"
        if not self._are_known:
            remedy += ", or set `model.target_scale = duda.TargetScale.of(y)`"
        raise ValueError(
            f"`y` holds {float(wrong[0]):.6g} and {len(wrong) - 1} more outside of the bins, where "
            f"the density is 0: {remedy}."
        )

    def check_units(self, y: Shaped[Tensor, "N D *positions"]) -> None:
        """Raise a `ValueError` if a target lies outside of bins that nobody has chosen."""
        if not self._are_known:
            self._check_inside(y)

    def shares(self, y: Float[Tensor, "N D *positions"]) -> Float[Tensor, "N K D *positions"]:
        """Return how much of a smoothed target lies in each bin; both in units of the outputs."""
        edges = self.bin_edges(y.device).to(y)
        low, high = (each.view(-1, *[1] * (y.ndim - 1)) for each in (edges[:-1], edges[1:]))
        points = y.unsqueeze(1)
        # Of its own bin a target may be the lower edge, of the last one the upper as well.
        own = (points >= low) & ((points < high) | ((points == high) & (high == edges[-1])))
        if self.smoothing == 0:
            return own.to(y)
        std = self.smoothing * ((high - low) * own).sum(1, keepdim=True)
        std = torch.where(std > 0, std, 1.0)  # outside of all
        ends = edges.view(-1, *[1] * (y.ndim - 1))
        below = torch.special.erf((ends - points) / (std * math.sqrt(2)))
        found: Tensor = below.diff(dim=1) / (below[:, -1:] - below[:, :1])
        return found

    def negative_log_likelihood(
        self, outputs: Float[Tensor, "N K*D *positions"], y: Shaped[Tensor, "N D *positions"]
    ) -> Float[Tensor, ""]:
        """Return -Σ share (log p - log width), summed over the D outputs, then averaged."""
        logits = self.logits(at_least_float32(outputs))
        edges = self.bin_edges(logits.device)
        inside = torch.zeros_like(logits[:, 0], dtype=torch.float64) + edges[:2].mean()
        shares = self.shares(self.beside(y, inside)).to(logits)
        widths = edges.diff().log().to(logits)
        density = logits.log_softmax(1) - widths.view(-1, *[1] * (logits.ndim - 2))
        return self.averaged((shares * density).sum(1).neg(), y)

    def reduction(self, keep_draws: bool = False) -> Reduction:
        """Return an empty reduction of draws of logits."""
        return _HistogramReduction(self, keep_draws)


class _HistogramReduction(ClassReduction):
    """Streams the mean probabilities of bins, and the variance over draws of the mean number."""

    def __init__(self, likelihood: Histogram, keep_draws: bool) -> None:
        super().__init__(keep_draws, lambda draws: likelihood.logits(draws, dim=2))
        self.likelihood = likelihood
        self.means = RunningMoments()

    def split(self, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Return what it does of classes, and take note of the mean number of each draw."""
        log_probs, entropies = super().split(draws)
        edges = self.likelihood.bin_edges(draws.device)
        places = ((edges[1:] + edges[:-1]) / 2).to(log_probs)
        self.means.add(torch.tensordot(log_probs.exp().movedim(2, -1), places, dims=1))
        return log_probs, entropies

    def result(self) -> NumberPrediction:  # type: ignore[override] # of numbers
        """Return the mixture of all draws so far."""
        of_bins = super().result()
        edges = self.likelihood.bin_edges(of_bins.log_probs.device)
        epistemic = self.means.variance.to(of_bins.log_probs.dtype)
        found = HistogramPrediction(of_bins.log_probs, edges, epistemic, of_bins.draws)
        return self.likelihood.in_target_units(found)
