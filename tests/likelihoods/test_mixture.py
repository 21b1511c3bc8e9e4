"""The loss of mixture density networks against torch, how they start, and what they learn."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch
import torch.nn.functional as F

import duda
from duda import Mixture


@pytest.mark.parametrize("count", [1, 4])
def test_loss_is_that_of_torch(count: int) -> None:
    likelihood = Mixture(count)
    outputs, y = torch.randn(6, 6 * count).double(), torch.randn(6, 2).double()
    logits, means, raw = outputs.view(6, 3, count, 2).movedim(2, -1).unbind(1)
    start = torch.as_tensor(scipy.stats.norm.ppf((torch.arange(count) + 0.5) / count))
    law = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=logits),
        torch.distributions.Normal(means + start, F.softplus(raw) + 1e-2),
    )
    torch.testing.assert_close(likelihood.loss(outputs, y), -law.log_prob(y).sum(1).mean())
    answer = likelihood.reduce(outputs[None])
    torch.testing.assert_close(answer.log_prob(y), law.log_prob(y))
    torch.testing.assert_close(answer.mean, law.mean)
    torch.testing.assert_close(answer.variance, law.variance)


def test_it_starts_as_wide_as_the_targets_and_learns_two_branches() -> None:
    g = torch.Generator().manual_seed(0)
    x = torch.rand(1500, 1, generator=g) * 2 - 1
    y = 100 + 50 * torch.where(torch.rand(1500, 1, generator=g) < 0.3, x + 2, -x - 2)
    y = y + 15 * torch.randn(1500, 1, generator=g)
    found = {}
    for likelihood in (Mixture(3), duda.Gaussian()):
        torch.manual_seed(0)
        layers = torch.nn.Linear(1, 32), torch.nn.Tanh(), torch.nn.Linear(32, likelihood.width(1))
        model = duda.Deterministic(torch.nn.Sequential(*layers), likelihood)
        duda.fit(model, (x, y), epochs=40, lr=0.01, seed=0)
        found[likelihood] = model.predict(x)
    mixture, one = found.values()
    pit = duda.evaluation.pit
    assert pit(mixture, y).coverage.mean_error < 0.03 < pit(one, y).coverage.mean_error
    assert float(mixture.crps(y).mean()) < 0.9 * float(one.crps(y).mean())
    noise = -math.log(15) - 0.5 * math.log(2 * math.pi * math.e)
    branches = 0.3 * math.log(0.3) + 0.7 * math.log(0.7)
    assert float(mixture.log_prob(y).mean()) == pytest.approx(noise + branches, abs=0.1)


@pytest.mark.parametrize("wrong", [0, -1, 2.5, None])
def test_a_bad_number_of_components_is_told(wrong: object) -> None:
    with pytest.raises((ValueError, TypeError), match="`components` is"):
        Mixture(wrong)


def test_what_is_put_out_is_told() -> None:
    with pytest.raises(
        ValueError, match=r"expected 15 D numbers .* D logits of each of 5 Gaussian"
    ):
        Mixture().loss(torch.zeros(4, 14), torch.zeros(4, 1))
    with pytest.raises(ValueError, match=r"`y` has shape \(4, 2\), expected \(4, 1\)"):
        Mixture().loss(torch.zeros(4, 15), torch.zeros(4, 2))
