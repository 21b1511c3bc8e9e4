"""Histogram: smoothed targets over bins, the bins that a training finds, and what lies outside."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import truncnorm
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import duda
from duda import Histogram, HistogramPrediction, TargetScale

UNEVEN = (-2.0, -1.0, 0.5, 1.0, 4.0)


@given(y=st.floats(-2, 4), smoothing=st.floats(0.05, 3))
@settings(max_examples=30, deadline=None)
def test_shares_are_those_of_a_truncated_normal(y: float, smoothing: float) -> None:
    shares = Histogram(edges=UNEVEN, smoothing=smoothing).shares(
        torch.tensor([[y]], dtype=torch.float64)
    )
    own = min(int(np.searchsorted(UNEVEN, y, side="right")), 4) - 1
    std = smoothing * (UNEVEN[own + 1] - UNEVEN[own])
    law = truncnorm((-2 - y) / std, (4 - y) / std, loc=y, scale=std)
    expected = torch.as_tensor(np.diff(law.cdf(UNEVEN)))
    torch.testing.assert_close(shares[0, :, 0], expected, rtol=1e-9, atol=1e-12)


def test_without_smoothing_the_loss_is_that_of_the_density() -> None:
    likelihood = Histogram(edges=UNEVEN, smoothing=0)
    outputs = torch.randn(5, 4 * 2, dtype=torch.float64)
    y = torch.tensor([[-2.0, 4.0], [0.5, 0.0], [-1.0, 1.0], [3.0, -1.5], [0.7, 0.2]]).double()
    expected = -likelihood.reduce(outputs[None]).log_prob(y).sum(1).mean()
    torch.testing.assert_close(likelihood.loss(outputs, y), expected)
    torch.testing.assert_close(
        likelihood.prediction_loss(likelihood.reduce(outputs[None]), y), expected
    )


def test_the_best_outputs_are_the_shares() -> None:
    likelihood = Histogram(20)
    y = torch.tensor([[0.3], [-2.0]]).double()
    best = likelihood.shares(y).log().squeeze(2).requires_grad_()
    gradient = torch.autograd.grad(likelihood.loss(best, y), best)[0]
    torch.testing.assert_close(gradient, torch.zeros_like(best), rtol=0, atol=1e-12)


@pytest.mark.parametrize("factor", [1.0, 1e-4, 1e7])
def test_a_training_finds_bins_that_hold_all_targets(factor: float) -> None:
    x = torch.randn(300, 2)
    y = factor * torch.cat([x[:, :1].exp(), 3 + x[:, 1:] ** 5], 1).double()
    model = duda.Deterministic(nn.Linear(2, 2 * 50), Histogram())
    duda.fit(model, (x, y), epochs=1, seed=0)
    scale = model.target_scale
    assert scale is not None
    first, last = scale.mean - 5 * scale.std, scale.mean + 5 * scale.std
    assert bool(((y > first) & (y < last)).all())
    far = (y - y.mean(0)).abs().amax(0) / y.std(0, correction=0)
    wide = torch.maximum(far * 1.1 / 5, torch.ones(2).double())
    torch.testing.assert_close(scale.std / y.std(0, correction=0), wide)
    answer = model.predict(x)
    assert isinstance(answer, HistogramPrediction)
    torch.testing.assert_close(answer.edges[[0, -1]], torch.stack([first, last]))
    assert bool(answer.log_prob(y).isfinite().all())


def test_draws_are_a_mixture_and_its_variance_splits() -> None:
    draws = 2 * torch.randn(5, 3, 4 * 2, dtype=torch.float64)
    answer = Histogram(edges=UNEVEN).reduce(draws, keep_draws=True)
    parts = answer.components()
    y = torch.tensor([[0.0, 1.0], [3.9, -1.9], [0.5, 0.6]]).double()
    for name in ("cdf", "log_prob"):
        each = torch.stack([getattr(part, name)(y) for part in parts])
        each = each.exp().mean(0).log() if name == "log_prob" else each.mean(0)
        torch.testing.assert_close(getattr(answer, name)(y), each)
    means, stds = (torch.stack([getattr(p, n) for p in parts]) for n in ("mean", "std"))
    torch.testing.assert_close(answer.mean, means.mean(0))
    torch.testing.assert_close(answer.epistemic, means.var(0, correction=0))
    torch.testing.assert_close(answer.aleatoric, stds.square().mean(0))


OUTSIDE = r"`y` holds 9 and 1 more outside of the bins, where the density is 0: give `duda.Hist"


@pytest.mark.parametrize("loader", [False, True])
@pytest.mark.parametrize("scale", ["auto", None])
def test_targets_outside_are_told(loader: bool, scale: str | None) -> None:
    x, y = torch.randn(6, 2), torch.tensor([0.0, 1.0, 9.0, -2.0, 3.0, 12.0]).unsqueeze(1)
    likelihood = Histogram(edges=UNEVEN) if scale == "auto" else Histogram(4)
    model = duda.DeepEnsemble(lambda: nn.Linear(2, 4), likelihood, members=2)
    data = DataLoader(TensorDataset(x, y), 6) if loader else (x, y)
    with pytest.raises(ValueError, match=OUTSIDE):
        duda.fit(model, data, epochs=1, target_scale=scale)


def test_own_loops_are_told_how_to_find_bins() -> None:
    x, y = torch.randn(4, 2), torch.tensor([[0.0], [1.0], [9.0], [10.0]])
    model = duda.Deterministic(nn.Linear(2, 50), Histogram())
    with pytest.raises(ValueError, match=OUTSIDE + r".*, or set `model.target_scale = duda.Target"):
        model.loss(x, y)
    model.target_scale = TargetScale.of(y)
    assert math.isfinite(float(model.loss(x, y).detach()))


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(ValueError, match="`edges` has a step of -1, expected edges of bins that"):
        Histogram(edges=(0.0, 2.0, 1.0))
    with pytest.raises(ValueError, match="edges of 3 bins"):
        Histogram(3, edges=(0.0, 1.0, 2.0))
    with pytest.raises(ValueError, match="`bins` is 1, expected"):
        Histogram(1)
    with pytest.raises(
        ValueError, match="expected 4 D numbers on dimension 1: D for each of the 4"
    ):
        Histogram(4).loss(torch.zeros(2, 6), torch.zeros(2, 1))
    with pytest.raises(TypeError, match="`edges` are in units of the target: leave one out"):
        Histogram(edges=UNEVEN).with_target_scale(TargetScale.of(torch.randn(5)))
    probs = torch.rand(30, 4).softmax(1)
    with pytest.raises(ValueError, match="expected logits: remove that last layer"):
        Histogram(4).reduce(probs[None])


def test_positions_may_come_before_the_outputs() -> None:
    outputs, y = torch.randn(3, 4 * 2, 5, dtype=torch.float64), torch.rand(3, 2, 5).double()
    first, last = Histogram(4), Histogram(4, output_dim=-1)
    moved = outputs.movedim(1, -1), y.movedim(1, -1)
    torch.testing.assert_close(first.loss(outputs, y), last.loss(*moved))
    one, other = first.reduce(outputs[None]), last.reduce(moved[0][None])
    assert torch.equal(one.log_probs, other.log_probs)
    assert one.mean.shape == y.shape
