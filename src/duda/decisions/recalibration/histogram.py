"""Histogram binning: the frequency in a bin in place of the probabilities that fall in it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from duda.checks import check_count, check_same_shape
from duda.decisions.claims import Claims
from duda.decisions.recalibration.one_vs_rest import OneVsRest
from duda.fitted import check_that
from duda.ordered import quantiles

__all__ = ["HistogramBinning"]


@dataclass(eq=False)
class HistogramBinning(OneVsRest):
    """Maps each probability to the frequency of its class in the bin that it falls in.

    In a bin without held-out examples it stays as it is. Of more than two classes each is mapped
    against the rest, and the results divided by their sum; if all are 0, they become equal.
    Frequencies of exactly 0 and 1 stay, labels may change, and many ties arise.
    Source: Zadrozny & Elkan 2001; Guo et al. 2017, section 4.1.

    Args:
        bins: how many; bin b holds [edges[b], edges[b + 1]), the last also its upper edge.
        binning: of equal width, or with equally many examples, as far as ties let them.

    Attributes:
        edges: `(K, bins + 1)`, for each of K mapped classes.
        frequencies: `(K, bins)`, NaN in empty bins.

    >>> probs = [[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]]
    >>> HistogramBinning(bins=2).fit(probs, [0, 1, 1, 1])([[0.6, 0.4]])
    tensor([[0.5000, 0.5000]], dtype=torch.float64)
    """

    bins: int = 15
    binning: Literal["uniform", "quantile"] = "uniform"
    edges: Float[Tensor, "K E"] = field(init=False, repr=False)
    frequencies: Float[Tensor, "K B"] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.bins = check_count(self.bins, "bins")
        if self.binning not in ("uniform", "quantile"):
            raise ValueError(f"`binning` is {self.binning!r}, expected 'uniform' or 'quantile'.")

    def check_learned(self) -> None:
        """Raise a `ValueError` unless there are bins for each mapped class; some may be empty."""
        check_same_shape(
            self.edges, "edges", (len(self.frequencies), self.bins + 1), "the frequencies"
        )
        self._check_mapped(len(self.edges), "edges")
        whole = (self.edges[:, 0] == 0) & (self.edges[:, -1] == 1)
        check_that(whole, "`edges` do not go from 0 to 1")
        check_that(self.edges.diff(dim=1) >= 0, "`edges` descend")
        shares = self.frequencies.nan_to_num(0.0, math.inf, -math.inf)
        check_that((shares >= 0) & (shares <= 1), "`frequencies` are not all between 0 and 1")

    def _learn_each(self, claims: Claims, first: int, hits: Float[Tensor, "R K"]) -> None:
        probs = claims.probs[:, first:]
        self.edges = self._edges(probs).cpu()
        index = self._bin(probs)
        # Whole numbers, whose sums depend on no order.
        sums = hits.new_zeros(hits.shape[1], self.bins)
        counts = sums.scatter_add(1, index.t(), torch.ones_like(hits).t())
        self.frequencies = (sums.scatter_add(1, index.t(), hits.t()) / counts).cpu()

    def _map_each(self, claims: Claims, first: int) -> Float[Tensor, "R K"]:
        probs = claims.probs[:, first:]
        mapped = self.frequencies.to(probs.device).gather(1, self._bin(probs).t()).t()
        return torch.where(mapped.isnan(), probs, mapped).logit()

    def _edges(self, probs: Float[Tensor, "R K"]) -> Float[Tensor, "K E"]:
        shares = torch.arange(1, self.bins, dtype=torch.float64, device=probs.device) / self.bins
        if self.binning == "uniform":
            inner = shares.expand(probs.shape[1], -1)
        else:
            inner = quantiles(probs, shares).t()
        return pad(pad(inner, (1, 0)), (0, 1), value=1.0)

    def _bin(self, probs: Float[Tensor, "R K"]) -> Tensor:
        inner = self.edges[:, 1:-1].to(probs.device).contiguous()
        return torch.searchsorted(inner, probs.t().contiguous(), right=True).t()
