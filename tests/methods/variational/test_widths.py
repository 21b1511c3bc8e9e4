"""Priors and first widths by layer, centred priors, and the temperature of the posterior."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

import duda
from duda.hooks import FitState
from duda.methods.variational.priors import Prior
from duda.methods.variational.variational import Variational

MOPED = {"centered_prior": True, "relative_std": True}
OPTIONS: list[dict[str, Any]] = [
    {"temperature": 0.1},
    {"fan_in_prior": True},
    {"centered_prior": True},
    {"initial_std": 0.5},
    {"relative_std": True},
]


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def model_of(
    net: nn.Module | None = None, prior: Prior | None = None, **options: Any
) -> Variational:
    return Variational(net or network(), duda.Categorical(), prior, examples=30, **options)


def divergence(model: Variational) -> float:
    return float(model.kl_divergence().detach())


def stds(model: Variational) -> list[Tensor]:
    return [F.softplus(raw).detach() for raw in model.raw_stds]


LAYERS = {
    "linear": (nn.Linear(12, 5, bias=False), torch.ones(1, 12)),
    "convolution": (nn.Conv2d(3, 4, 5, bias=False), torch.ones(1, 3, 9, 9)),
    "groups": (nn.Conv2d(6, 4, 3, groups=2, bias=False), torch.ones(1, 6, 9, 9)),
    "transposed": (nn.ConvTranspose2d(7, 2, 3, bias=False), torch.ones(1, 7, 9, 9)),
    "transposed, strides": (nn.ConvTranspose2d(7, 2, 4, 2, bias=False), torch.ones(1, 7, 9, 9)),
    "transposed, groups": (nn.ConvTranspose1d(6, 4, 5, groups=2, bias=False), torch.ones(1, 6, 20)),
    "transposed, one dimension": (
        nn.ConvTranspose1d(16, 2, 4, 2, bias=False),
        torch.ones(1, 16, 9),
    ),
}


@pytest.mark.parametrize("std", [0.1, 0.5])
@pytest.mark.parametrize("kind", LAYERS)
def test_outputs_start_with_the_noise_that_is_asked_for(kind: str, std: float) -> None:
    layer, x = LAYERS[kind]
    (start,) = stds(model_of(copy.deepcopy(layer), initial_std=std))
    with torch.no_grad():
        squared = copy.deepcopy(layer)
        squared.weight.copy_(start.square())
        noise = squared(x).sqrt()
    middle = noise[(0, 0, *(size // 2 for size in noise.shape[2:]))]
    assert float(middle) == pytest.approx(std, rel=1e-5)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_prior_by_layer_gives_outputs_of_its_own_width(kind: str) -> None:
    """So that the divergence is 0 at weights of std / √inputs."""
    layer, _ = LAYERS[kind]
    model = model_of(
        copy.deepcopy(layer), duda.GaussianPrior(0.7), initial_std=0.7, fan_in_prior=True
    )
    nn.init.zeros_(model.network.weight)
    assert abs(divergence(model)) < 1e-4
    plain = model_of(copy.deepcopy(layer), prior=duda.GaussianPrior(0.7), initial_std=0.7)
    nn.init.zeros_(plain.network.weight)
    assert divergence(plain) > 0.1


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("fan_in", [False, True])
def test_the_divergence_is_that_of_torch(fan_in: bool, centered: bool) -> None:
    net = network().double()
    before = [weight.detach().clone() for weight in net.parameters()]
    model = model_of(net, duda.GaussianPrior(0.3), fan_in_prior=fan_in, centered_prior=centered)
    with torch.no_grad():
        for weight in (*net.parameters(), *model.raw_stds):
            weight.add_(torch.randn_like(weight))
    expected = 0.0
    for now, old, std in zip(net.parameters(), before, stds(model), strict=True):
        width = 0.3 / math.sqrt(now.shape[1] if fan_in and now.ndim > 1 else 1)
        prior = Normal(old if centered else torch.zeros_like(old), torch.full_like(old, width))
        expected += float(kl_divergence(Normal(now.detach(), std), prior).sum())
    assert divergence(model) == pytest.approx(expected)


def test_every_prior_can_be_scaled_and_centred() -> None:
    torch.manual_seed(0)
    prior = duda.ScaleMixturePrior(0.5, 1.0, 0.1)
    model = model_of(nn.Linear(400, 50, bias=False), prior, fan_in_prior=True, centered_prior=True)
    other = model_of(nn.Linear(400, 50, bias=False), prior)
    with torch.no_grad():
        other.network.weight.zero_()
        other.raw_stds[0].fill_(math.log(math.expm1(0.1)))
    found, expected = (divergence(each) for each in (model, other))
    assert found == pytest.approx(expected, rel=0.05)  # estimates from 20,000 weights


@pytest.mark.parametrize("temperature", [0.0, 0.1, 3.0])
def test_the_temperature_weighs_the_divergence(temperature: float) -> None:
    x, y = torch.randn(6, 4), torch.arange(6) % 3
    one = model_of()
    other = model_of(copy.deepcopy(one.network), temperature=temperature)
    losses = []
    for model in (one, other):
        torch.manual_seed(0)
        model.train().on_epoch_start(FitState(examples=30))
        losses.append(float(model.loss(x, y).detach()))
    kl = divergence(one)
    assert losses[1] - losses[0] == pytest.approx((temperature - 1) * kl / 30, rel=1e-4)
    assert divergence(other) == pytest.approx(kl)
    with torch.no_grad():
        assert one.eval().loss(x, y) == other.eval().loss(x, y)  # by what is predicted


def test_moped_starts_at_the_network_with_noise_by_the_size_of_its_weights() -> None:
    net = network()
    nn.init.zeros_(net[0].bias)
    model = model_of(net, initial_std=0.2, **MOPED)
    for weight, std in zip(net.parameters(), stds(model), strict=True):
        large = weight.detach().abs() > 0.01
        torch.testing.assert_close(std[large], 0.2 * weight.detach().abs()[large])
        assert (std > 0).all()
    prior = [
        kl_divergence(Normal(0 * std, std), Normal(0 * std, torch.ones_like(std))).sum()
        for std in stds(model)
    ]
    assert divergence(model) == pytest.approx(float(torch.stack(prior).sum()), rel=1e-5)


def test_the_centre_is_kept_in_files_and_moves_with_the_model(tmp_path: Path) -> None:
    x, y = torch.randn(30, 4), torch.arange(30) % 3
    model = model_of(**MOPED)
    duda.fit(model, (x, y), epochs=2, lr=0.1, seed=0)
    duda.save(model, tmp_path / "model")
    other = duda.load(tmp_path / "model", network=network())
    assert divergence(other) == pytest.approx(divergence(model))
    assert other.arguments() == model.arguments()
    moved = copy.deepcopy(model).double()
    assert {each.dtype for each in moved.centers.buffers()} == {torch.float64}
    assert divergence(moved) == pytest.approx(divergence(model), rel=1e-4)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: next(iter(options)))
def test_a_checkpoint_goes_on_under_its_own_settings_only(
    options: dict[str, Any], tmp_path: Path
) -> None:
    x, y = torch.randn(30, 4), torch.arange(30) % 3
    torch.manual_seed(0)
    net, path = network(), tmp_path / "checkpoint"
    duda.fit(model_of(copy.deepcopy(net)), (x, y), epochs=1, seed=0, checkpoint=path)
    with pytest.raises(ValueError, match="checkpoint"):
        duda.fit(model_of(copy.deepcopy(net), **options), (x, y), epochs=2, seed=0, checkpoint=path)


@pytest.mark.parametrize("estimator", ["weight", "local", "flipout"])
@pytest.mark.parametrize("options", [{**MOPED}, {"fan_in_prior": True, "temperature": 0.1}])
def test_it_trains(options: dict[str, Any], estimator: str) -> None:
    x = torch.randn(90, 4)
    y = (x[:, 0] > 0).long() + (x[:, 1] > 1).long()
    model = Variational(network(), duda.Categorical(), estimator=estimator, **options)
    history = duda.fit(model, (x, y), epochs=15, lr=0.03, seed=0)
    assert history.losses.isfinite().all()
    assert (model.predict(x, seed=0).labels == y).float().mean() > 0.7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "`temperature` is -1.0"),
        ({"temperature": math.inf}, "`temperature` is inf"),
        ({"initial_std": 0.0}, "`initial_std` is 0.0, expected a number above 0"),
        ({"initial_std": math.nan}, "`initial_std` is nan"),
    ],
)
def test_bad_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model_of(**options)
