"""Quantiles of mixtures: found to the last digits, in fewer steps than halving takes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from duda import GaussianPrediction
from duda.predictions.mixture import crossing

MEANS = {"alike": 0.0, "apart": 10.0}
STDS: dict[str, Callable[[Tensor], Tensor]] = {
    "wide": lambda std: std,
    "narrow": lambda std: 1e-2 * std,
    "some of 0": lambda std: std * (std > 0.5),
    "all of 0": lambda std: 0 * std,
}


def halved(cdf: Callable[[Tensor], Tensor], q: float, ends: Tensor) -> Tensor:
    low, high = ends.amin(0), ends.amax(0)
    for _ in range(60):
        middle = (low + high) / 2
        below = cdf(middle) < q
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return high


def mixture(mean: Tensor, std: Tensor, counter: list[int]) -> Callable[[Tensor], Tensor]:
    def cdf(y: Tensor) -> Tensor:
        counter.append(1)
        smooth = torch.special.ndtr((y - mean) / std)
        return torch.where(std > 0, smooth, (y >= mean).double()).mean(0)

    return cdf


@pytest.mark.parametrize("q", [1e-6, 0.025, 0.5, 0.75, 0.999])
@pytest.mark.parametrize("std", STDS)
@pytest.mark.parametrize("apart", [0.0, 1.0, 10.0])
def test_it_is_what_halving_finds(apart: float, std: str, q: float) -> None:
    g = torch.Generator().manual_seed(0)
    mean = apart * torch.randn(5, 500, generator=g, dtype=torch.float64)
    stds = STDS[std](torch.rand(5, 500, generator=g, dtype=torch.float64) + 0.1)
    calls: list[int] = []
    cdf = mixture(mean, stds, calls)
    ends = mean + torch.special.ndtri(torch.tensor(q, dtype=torch.float64)) * stds
    found = crossing(cdf, q, ends)
    assert len(calls) <= 64
    width = ends.amax(0) - ends.amin(0)
    away = (found - halved(cdf, q, ends)).abs()
    # As far as the rounding of the distribution function lets it be known.
    assert bool((away <= 1e-9 * stds.amax(0) + 1e-14 * width).all())


def test_few_steps_of_smooth_ones() -> None:
    g = torch.Generator().manual_seed(0)
    mean = torch.randn(5, 2000, generator=g, dtype=torch.float64)
    calls: list[int] = []
    cdf = mixture(mean, torch.ones_like(mean), calls)
    crossing(cdf, 0.3, mean - 0.5244)
    assert len(calls) <= 16


def test_a_prediction_at_a_large_offset() -> None:
    draws = torch.tensor([[[1e8, 1e-4]], [[1e8 + 0.1, 1e-4]]], dtype=torch.float64)
    answer = GaussianPrediction([[1e8]], [[1e-4]], [[0.0025]], draws)
    assert float(answer.cdf(answer.quantile(0.3))) == pytest.approx(0.3, abs=1e-5)
