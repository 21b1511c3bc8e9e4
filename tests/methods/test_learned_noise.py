"""A `FixedGaussian` without a noise learns it, in every method, by `fit` and in one's own loop."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import duda
from duda.hooks import FitState
from duda.methods import METHODS
from tests.pairs import PAIRS
from tests.training.models import same, seeded_model, values
from tests.training.test_checkpoint import cut_off_each_epoch

NOISY = [method for method, likelihood in PAIRS if likelihood == "fixed-gaussian"]


def line(n: int = 300, seed: int = 0, noise: float = 0.1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 2, generator=generator)
    return x, x[:, :1] - 0.5 * x[:, 1:] + noise * torch.randn(n, 1, generator=generator)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Dropout(0.02), nn.Linear(16, 1))


def build(method: str, likelihood: duda.Likelihood | None = None) -> duda.UncertainModel:
    likelihood = likelihood or duda.FixedGaussian()
    return seeded_model(lambda: METHODS[method].from_factory(network, likelihood))


@pytest.mark.parametrize("method", NOISY)
def test_fit_finds_it(method: str, tmp_path: Path) -> None:
    model = build(method)
    assert model.likelihood.noise() == 1.0
    duda.fit(model, line(), epochs=60, lr=0.01, batch_size=32, seed=0)
    std = float(model.likelihood.noise())
    assert 0.08 < std < (0.25 if method in ("variational", "mc-dropconnect", "sde-net") else 0.15)
    x, y = line(1000, seed=1)
    answer = model.predict(x, seed=0)
    aleatoric = answer.aleatoric
    if method == "test-time-augmentation":  # what versions of an input differ in is aleatoric, too
        draws = model.predict(x, seed=0, keep_draws=True).draws[:, :, :1]
        aleatoric = aleatoric - draws.var(0, correction=0)
    torch.testing.assert_close(aleatoric, torch.full_like(y, std**2).double())
    lower, upper = answer.interval(0.9)
    assert 0.85 < float(((lower <= y) & (y <= upper)).float().mean()) <= 1
    # It goes with the model: into its state, its file and its copies.
    other = build(method)
    if method in ("laplace", "swag"):
        duda.fit(other, line(), epochs=4, seed=0)
    other.load_state_dict(model.state_dict())
    loaded = duda.load(duda.save(model, tmp_path / "model"), network)
    for again in (other, loaded, copy.deepcopy(model), model.double().float()):
        assert again.likelihood.noise() == std
    assert repr(loaded) == repr(model)
    assert "noise_std=None)" in repr(model.likelihood)  # a setting, by which checkpoints know it


@pytest.mark.parametrize("method", NOISY)
def test_it_stays_where_it_is_given(method: str) -> None:
    model = build(method, duda.FixedGaussian(0.7))
    duda.fit(model, line(50), epochs=4, seed=0)
    assert model.likelihood.noise() == 0.7
    assert model.likelihood == duda.FixedGaussian(0.7)
    assert not any("target_noise" in name for name in model.state_dict())


def test_it_is_the_mean_squared_error_of_all_draws() -> None:
    x, y = line(64)
    model = build("deep-ensemble")
    duda.fit(model, (x, y), epochs=3, lr=0.01)
    draws = model.predict(x, keep_draws=True).draws[:, :, :1]
    assert model.likelihood.noise() == pytest.approx(float((draws - y).square().mean().sqrt()))


@pytest.mark.parametrize("structure", ["kron", "full"])
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("precision", [None, 3.0])
def test_laplace_has_the_noise_of_greatest_evidence(
    structure: str, outputs: int, precision: float | None
) -> None:
    x, y = line(40)
    y = torch.cat([y, -y], dim=1)[:, :outputs]
    net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, outputs)).double()
    duda.fit(duda.Deterministic(net, duda.FixedGaussian()), (x, y), epochs=50, lr=0.01, seed=0)

    def laplace(noise: float | None) -> duda.Laplace:
        model = duda.Laplace(
            net,
            duda.FixedGaussian(noise),
            structure=structure,
            prior_precision=precision,
            approximation="closed-form",
        )
        model.fit_posterior((x, y))
        return model

    model = laplace(None)
    std, best = float(model.likelihood.noise().max()), model.log_marginal_likelihood()
    assert max(laplace(f * std).log_marginal_likelihood() for f in (0.8, 0.98, 1.02, 1.2)) < best
    given = laplace(std)
    assert given.log_marginal_likelihood() == pytest.approx(best)
    torch.testing.assert_close(given.prior_precision, model.prior_precision)
    one, other = (each.predict(x.double(), seed=0) for each in (model, given))
    torch.testing.assert_close(one.std, other.std)
    # Some weights are determined by the targets, so that it is more than the mean error.
    assert std > float(model.predict(x, seed=0).loss(y).mean().sqrt())


def test_laplace_around_a_network_that_fits_all_targets_is_told() -> None:
    net = nn.Linear(2, 1).double()
    x = torch.randn(20, 2).double()
    model = duda.Laplace(net, duda.FixedGaussian())
    with pytest.raises(ValueError, match="`noise_std` cannot be learned, because the network fits"):
        model.fit_posterior((x, net(x).detach()))


@pytest.mark.parametrize("method", [m for m in NOISY if m not in ("laplace", "swag")])
def test_a_loop_that_tells_nothing_learns_it_too(method: str) -> None:
    model = build(method)
    model.examples = 300
    x, y = line()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for epoch in range(40):
        for rows in torch.randperm(300, generator=torch.Generator().manual_seed(epoch)).split(32):
            optimizer.zero_grad()
            model.loss(x[rows], y[rows]).backward()
            optimizer.step()
    assert 0.08 < model.likelihood.noise() < 0.4
    before = model.likelihood.noise()
    with torch.no_grad():
        model.loss(x, y + 100)
        model.eval().loss(x, y + 100)
        model.predict(x, samples=1)
    assert model.likelihood.noise() == before


def test_variational_weighs_its_data_by_the_noise_of_now() -> None:
    model, given = build("variational"), build("variational", duda.FixedGaussian(1.0))
    x, y = line()
    model.examples = given.examples = 300
    losses = []
    for each in (model, given):
        torch.manual_seed(0)
        each.loss(x, y)
        if each is model:
            given.likelihood = duda.FixedGaussian(float(model.likelihood.noise()))
        torch.manual_seed(0)
        losses.append(each.eval().loss(x, y))
    torch.testing.assert_close(*losses)
    assert model.likelihood.noise() != 1


@pytest.mark.parametrize("method", ["deterministic", "variational"])
def test_runs_that_are_cut_off_go_on_with_it(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"epochs": 4, "seed": 1, "batch_size": 16, "validation": line(20)}
    whole = build(method)
    expected = duda.fit(whole, line(50), **options)
    found, history, _ = cut_off_each_epoch(
        lambda: build(method), tmp_path / "run", monkeypatch, data=lambda: line(50), **options
    )
    assert same(values(found), values(whole))
    assert torch.equal(history.validation_losses, expected.validation_losses)


def test_validation_has_the_noise_of_the_epoch() -> None:
    model = build("deterministic")
    x, y = line(100)
    history = duda.fit(model, (x, y), epochs=30, lr=0.02, validation=line(100, seed=2), seed=0)
    assert history.validation_losses is not None
    expected = 0.5 + 0.5 * math.log(2 * math.pi) + math.log(float(model.likelihood.noise()))
    assert float(history.validation_losses[0, -1]) == pytest.approx(expected, abs=0.5)


def test_members_learn_it_in_one_step_as_in_turn() -> None:
    found = []
    for vectorize in (False, True):
        model = seeded_model(
            lambda: duda.DeepEnsemble(
                lambda: nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)),
                duda.FixedGaussian(),
                3,
            ),
            dtype=torch.float64,
        )
        x, y = (t.double() for t in line(60))
        history = duda.fit(
            model, (x, y), epochs=4, batch_size=16, validation=(x, y), seed=0, vectorize=vectorize
        )
        found.append((values(model), history.losses, history.validation_losses))
    torch.testing.assert_close(*found)


def test_epochs_forget_what_was_before() -> None:
    model = build("deterministic")
    x, y = line(20)
    model.loss(x, y + 100)
    assert model.likelihood.noise() > 50
    model.on_epoch_start(FitState(epoch=3))
    model.loss(x, y)
    assert model.likelihood.noise() < 5


@pytest.mark.parametrize("std", [0.0, -1.0, math.inf, math.nan])
def test_noise_is_above_zero(std: float) -> None:
    with pytest.raises(ValueError, match="expected a number above 0"):
        duda.FixedGaussian(std)
    with pytest.raises(ValueError, match="expected a number above 0"):
        duda.FixedGaussian(learned_std=std)


def test_others_have_none() -> None:
    for ask in ("noise", "with_noise", "squared_error"):
        arguments = {"noise": (), "with_noise": (1.0,), "squared_error": (None, None)}[ask]
        with pytest.raises(TypeError, match="a Gaussian has no noise of its own"):
            getattr(duda.Gaussian(), ask)(*arguments)
