"""Paths have the moments of Euler's and Maruyama's steps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from duda.layers import ODEBlock, SDEBlock

DEVIATIONS = 5


class Decay(nn.Module):
    """dh = -θ h dt: with noise the process of Ornstein and Uhlenbeck."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, h: Tensor) -> Tensor:
        return -self.rate * h


class Constant(nn.Module):
    """The same diffusion everywhere."""

    def __init__(self, logit: float) -> None:
        super().__init__()
        self.logit = logit

    def forward(self, h: Tensor) -> Tensor:
        return torch.full((len(h), 1), self.logit, dtype=h.dtype)


class Time(nn.Module):
    def forward(self, t: Tensor, h: Tensor) -> Tensor:
        return t.expand_as(h)


@pytest.mark.parametrize(("steps", "t1"), [(1, 1.0), (4, 2.0), (10, 0.5)])
def test_moments_of_an_ornstein_uhlenbeck_process(steps: int, t1: float) -> None:
    rate, logit, sigma_max, start, count = 0.8, 0.4, 1.5, 2.0, 20_000
    block = SDEBlock(Decay(rate), Constant(logit), steps, t1, sigma_max)
    ends = block(torch.full((count, 2), start, dtype=torch.float64))
    step, g = t1 / steps, sigma_max / (1 + math.exp(-logit))
    kept = 1 - rate * step
    mean = start * kept**steps
    variance = g**2 * step * sum(kept ** (2 * k) for k in range(steps))
    assert ((ends.mean(0) - mean).abs() <= DEVIATIONS * math.sqrt(variance / count)).all()
    # A normal sample's variance has the standard error σ² √(2 / n).
    assert ((ends.var(0) - variance).abs() <= DEVIATIONS * variance * math.sqrt(2 / count)).all()
    correlation = torch.corrcoef(ends.T)[0, 1]
    assert abs(float(correlation)) <= DEVIATIONS / math.sqrt(count)


def test_without_diffusion_it_is_eulers_ode() -> None:
    drift, h = nn.Linear(3, 3).double(), torch.randn(5, 3, dtype=torch.float64)
    block = SDEBlock(drift, Constant(-math.inf), steps=6, t1=0.9)
    expected = ODEBlock(drift, "euler", t1=0.9, steps=6)(h)
    torch.testing.assert_close(block(h), expected)


def test_the_diffusion_sees_the_start_alone_and_the_drift_the_time() -> None:
    seen = []

    class Watched(nn.Linear):
        def forward(self, h: Tensor) -> Tensor:
            seen.append(h)
            return super().forward(h)

    h = torch.randn(4, 2)
    block = SDEBlock(Time(), Watched(2, 1), steps=4, t1=2.0, sigma_max=1e-9)
    torch.testing.assert_close(block(h), h + 0.5 * (0.0 + 0.5 + 1.0 + 1.5))
    assert len(seen) == 1
    assert torch.equal(seen[0], h)


def test_each_example_has_its_own_noise_of_its_own_size() -> None:
    block = SDEBlock(Decay(1.0), nn.Linear(3, 1))
    h = torch.zeros(4000, 3, 2, 2)
    block.diffusion = nn.Sequential(nn.Flatten(), nn.Linear(12, 1))
    assert block(h).shape == h.shape
    ends = block(h)
    assert len(ends.flatten(1).unique(dim=0)) == len(h)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: SDEBlock(Decay(1.0), nn.Linear(2, 1), steps=0), ValueError, "`steps` is 0"),
        (lambda: SDEBlock(Decay(1.0), nn.Linear(2, 1), t1=0), ValueError, "`t1` is 0"),
        (
            lambda: SDEBlock(Decay(1.0), nn.Linear(2, 1), sigma_max=math.nan),
            ValueError,
            "`sigma_max` is nan",
        ),
        (
            lambda: SDEBlock(Decay(1.0), nn.Linear(2, 1), eval_sigma_max=0.0),
            ValueError,
            "`eval_sigma_max` is 0.0",
        ),
        (lambda: SDEBlock(torch.tanh, nn.Linear(2, 1)), TypeError, "`drift` is a builtin"),
        (lambda: SDEBlock(Decay(1.0), Time()), TypeError, "`diffusion` is a Time.*the start"),
        (
            lambda: SDEBlock(Decay(1.0), nn.Linear(2, 2))(torch.zeros(3, 2)),
            ValueError,
            r"`diffusion` returned shape \(3, 2\).*expected \(3, 1\)",
        ),
        (
            lambda: SDEBlock(Decay(1.0), nn.Linear(2, 1))(torch.zeros(3, 5, 2)),
            ValueError,
            r"`diffusion` returned shape \(3, 5, 1\)",
        ),
        (
            lambda: SDEBlock(nn.Linear(2, 1), nn.Linear(2, 1))(torch.zeros(3, 2)),
            ValueError,
            r"`drift` returned shape \(3, 1\), expected that of the state, \(3, 2\)",
        ),
    ],
)
def test_bad_settings(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
