"""Targets in any units: networks learn numbers in units of their own, and predict in the user's."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import duda
from duda.decisions import ConformalRegressor
from duda.hooks import FitState
from duda.likelihoods import LIKELIHOODS
from duda.methods import METHODS
from tests.pairs import PAIRS
from tests.training.models import same, seeded_model, values
from tests.training.test_checkpoint import cut_off_each_epoch

NUMBERS = [
    name
    for name, kind in LIKELIHOODS.items()
    if kind().takes_scale and getattr(kind, "support", "numbers") == "numbers"
]
NUMBER_PAIRS = [pair for pair in PAIRS if pair[1] in NUMBERS]
# Two targets of very different units, (D): of the offset no float32 has the digits.
FACTOR = torch.tensor([1e4, 0.2]).double()
OFFSET = torch.tensor([-300.0, 5e6]).double()


def waves(n: int = 60, outputs: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=generator).double()
    y = torch.stack([2 * x[:, 0] + (2 * x[:, 1]).sin(), x[:, 2] - x[:, 0]], dim=1)
    return x, (y + 0.3 * torch.randn(n, 2, generator=generator))[:, :outputs]


def build(method: str, likelihood: duda.Likelihood, outputs: int = 2) -> duda.UncertainModel:
    def network() -> nn.Module:
        width = likelihood.width(outputs)
        layers = nn.Linear(3, 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, width)
        return nn.Sequential(*layers).double()

    make = METHODS[method].from_factory
    return seeded_model(lambda: make(network, likelihood), dtype=torch.float64)


def moved(prediction: duda.Prediction) -> duda.Prediction:
    return prediction.affine(FACTOR, OFFSET)  # type: ignore[attr-defined]


def assert_alike(one: duda.Prediction, other: duda.Prediction) -> None:
    """Compare in units of the second target's std, beside which its offset is large."""
    for name in ("quantile", "centre", "score"):
        pair = [getattr(each, name) for each in (one, other)]
        if name == "quantile":
            pair = [quantile(0.3) for quantile in pair]
        assert all(each.dtype == torch.float64 for each in pair)
        for (a, b), unit in zip(zip(*(each.T for each in pair), strict=True), FACTOR, strict=True):
            torch.testing.assert_close(a / unit, b / unit, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(("unit", "offset"), [(1.0, 0.0), (100.0, 0.0), (1e4, 7.0), (0.2, 5e6)])
def test_intervals_hold_what_they_should(name: str, unit: float, offset: float) -> None:
    likelihood = LIKELIHOODS[name]()
    x, y = waves(400, outputs=1)
    model = build("deterministic", likelihood, outputs=1).float()
    epochs = 75 if name == "histogram" else 25  # of many outputs, each for a few of the targets
    duda.fit(model, (x.float(), unit * y + offset), epochs=epochs, lr=0.02, batch_size=64, seed=0)
    x, y = waves(400, outputs=1, seed=1)
    y = unit * y + offset
    answer = model.predict(x)
    lower, upper = answer.interval(0.9)
    assert 0.82 < float(((lower <= y) & (y <= upper)).double().mean()) < 0.99
    assert float(answer.loss(y).mean().sqrt()) < 0.6 * unit  # of targets with a spread of 2.1


@pytest.mark.parametrize(("method", "name"), NUMBER_PAIRS)
def test_units_change_nothing_else(method: str, name: str) -> None:
    x, y = waves()
    found, histories = [], []
    for factor, offset in ((1.0, 0.0), (FACTOR, OFFSET)):
        model = build(method, LIKELIHOODS[name]())
        target = factor * y + offset
        options = {"epochs": 4, "lr": 0.01, "batch_size": 16, "seed": 0}
        histories.append(duda.fit(model, (x, target), validation=(x, target), **options))
        found.append(model.predict(x, seed=0))
    assert_alike(found[1], moved(found[0]))
    losses = [(each.losses, each.validation_losses) for each in histories]
    for one, other, kind in zip(*losses, ("training", "validation"), strict=True):
        # -log p is that of targets in their own units; the others are in those of the outputs.
        density = name != "quantiles" and (kind == "validation" or name != "beta-gaussian")
        heads = losses[0][0].shape[0] if method != "sub-ensemble" else torch.tensor([[1], [4]])
        each = heads if method == "sub-ensemble" and kind == "training" else 1
        if method == "variational" and kind == "training":
            continue  # a part of it is the KL divergence
        torch.testing.assert_close(one + each * density * float(FACTOR.log().sum()), other)
    assert histories[0].best_epochs == histories[1].best_epochs


@pytest.mark.parametrize("factor", [1.0, 1e-3, 1e6])
def test_numbers_above_0_are_learned_in_units_of_their_logarithm(factor: float) -> None:
    x, y = waves(outputs=1)
    model = build("deterministic", duda.LogNormal(), outputs=1)
    history = duda.fit(
        model, (x, factor * y.exp()), epochs=40, lr=0.02, seed=0, validation=(x, y.exp() * factor)
    )
    assert model.target_scale is not None
    torch.testing.assert_close(model.target_scale.mean, y.mean(0) + math.log(factor))
    torch.testing.assert_close(model.target_scale.std, y.std(0, correction=0))
    answer = model.predict(x)
    error = answer.quantile(0.5).log() - math.log(factor) - y
    assert float(error.square().mean().sqrt()) < 0.8
    assert history.validation_losses is not None
    judged = float(-answer.log_prob(factor * y.exp()).mean())
    assert float(history.validation_losses[0, history.best_epochs[0] - 1]) == pytest.approx(judged)


def test_numbers_that_are_not_above_0_are_told() -> None:
    x, y = waves(outputs=1)
    with pytest.raises(ValueError, match=r"`y` holds -.* more such, expected numbers above 0"):
        duda.fit(build("deterministic", duda.LogNormal(), outputs=1), (x, y), epochs=1)


def test_noise_that_is_given_is_in_the_targets_units() -> None:
    x, y = waves(outputs=1)
    model = build("deterministic", duda.FixedGaussian(30.0), outputs=1)
    duda.fit(model, (x, 100 * y), epochs=2)
    torch.testing.assert_close(model.predict(x).aleatoric, torch.full_like(y, 900.0))
    assert model.likelihood.noise() == 30
    loss = float(model.likelihood.loss(model.eval()(x), 100 * y).detach())
    assert loss == pytest.approx(-float(model.predict(x).log_prob(100 * y).mean()))


@pytest.mark.parametrize("output_dim", [1, -1])
def test_positions_share_a_scale(output_dim: int) -> None:
    x = torch.randn(20, 3, 7).double()
    y = OFFSET[:, None] + FACTOR[:, None] * x[:, :2] + 0.1 * torch.randn(20, 2, 7)
    network: nn.Module = nn.Conv1d(3, 4, 1).double()
    expected = y.movedim(1, -1).flatten(0, 1)
    if output_dim == -1:
        x, y, network = x.movedim(1, -1), y.movedim(1, -1), nn.Linear(3, 4).double()
    model = duda.Deterministic(network, duda.Gaussian(output_dim=output_dim))
    duda.fit(model, (x, y), epochs=100, lr=0.05)
    assert model.target_scale is not None
    torch.testing.assert_close(model.target_scale.mean, expected.mean(0))
    torch.testing.assert_close(model.target_scale.std, expected.std(0, correction=0))
    error = model.predict(x).mean - (y if output_dim == 1 else y.movedim(-1, 1))
    assert bool((error.square().mean((0, 2)).sqrt() < 0.6 * FACTOR).all())


@pytest.mark.parametrize(
    "y", [torch.full((9, 1), 0.1), torch.full((9, 1), 5e6), torch.zeros(9), torch.ones(1, 1)]
)
def test_constant_targets_have_scale_one(y: Tensor) -> None:
    scale = duda.TargetScale.of(y)
    assert scale.std.tolist() == [1.0]
    torch.testing.assert_close(scale.mean, y.double().reshape(-1)[:1])


def test_whole_numbers_are_targets_too() -> None:
    y = torch.tensor([[2_000_000_001], [2_000_000_003]])
    assert duda.TargetScale.of(y) == duda.TargetScale(2_000_000_002.0, 1.0)


class Stream(IterableDataset):  # type: ignore[type-arg]
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from zip(*waves(), strict=True)


@pytest.mark.parametrize("kind", ["loader", "stream", "shuffled"])
def test_data_of_any_kind_have_the_same_scale(kind: str) -> None:
    x, y = waves()
    generator = torch.Generator().manual_seed(3)
    data = {
        "loader": DataLoader(TensorDataset(x, y), 7),
        "stream": DataLoader(Stream(), 7),
        "shuffled": DataLoader(TensorDataset(x, y), 7, shuffle=True, generator=generator),
    }[kind]
    model = build("deterministic", duda.Gaussian())
    states = torch.get_rng_state(), generator.get_state()
    duda.fit(model, data, epochs=1, seed=0)
    expected = duda.TargetScale.of(y)
    assert model.target_scale is not None
    torch.testing.assert_close(model.target_scale.mean, expected.mean)
    torch.testing.assert_close(model.target_scale.std, expected.std)
    assert torch.equal(generator.get_state(), states[1])


def test_a_loader_in_turn_knows_targets_in_float64() -> None:
    x, y = waves(outputs=1)
    loader = DataLoader(TensorDataset(x.float(), 0.2 * y + 5e6), 20)
    model = build("deterministic", duda.Gaussian(), outputs=1).float()
    duda.fit(model, loader, epochs=60, lr=0.01)
    assert float(model.predict(x).loss(0.2 * y + 5e6).mean().sqrt()) < 0.1


@pytest.mark.parametrize("method", ["deterministic", "deep-ensemble", "laplace", "swag"])
def test_it_goes_with_the_model(method: str, tmp_path: Path) -> None:
    x, y = waves()
    y = FACTOR * y + OFFSET
    model = build(method, duda.Gaussian())
    duda.fit(model, (x, y), epochs=4, seed=0)
    expected = model.predict(x, seed=0)
    loaded = duda.load(duda.save(model, tmp_path / "model"), lambda: copy.deepcopy(network(model)))
    other = build(method, duda.Gaussian())
    if method in ("laplace", "swag"):
        duda.fit(other, (x, y), epochs=4, seed=1)
    other.load_state_dict(model.state_dict())
    half = copy.deepcopy(model).half().double()
    assert half.target_scale == model.target_scale
    for again in (loaded, other, copy.deepcopy(model)):
        assert again.target_scale == model.target_scale
        assert_alike(again.predict(x, seed=0), expected)


def network(model: duda.UncertainModel) -> nn.Module:
    return model.members[0] if hasattr(model, "members") else model.network


def test_states_without_a_scale_are_those_of_targets_in_their_own_units() -> None:
    model, other = (build("deterministic", duda.Gaussian()) for _ in range(2))
    old = {name: value for name, value in model.state_dict().items() if "units" not in name}
    other.load_state_dict(old)
    assert other.target_scale is None


@pytest.mark.parametrize("vectorize", [False, True])
def test_runs_that_are_cut_off_go_on_in_their_units(
    vectorize: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = waves()

    def make() -> duda.UncertainModel:
        layers = lambda: nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 4)).double()  # noqa: E731
        return seeded_model(lambda: duda.DeepEnsemble(layers, duda.Gaussian(), 2))

    options = {"epochs": 3, "seed": 1, "batch_size": 16, "vectorize": vectorize}
    whole = make()
    duda.fit(whole, (x, FACTOR * y + OFFSET), **options)
    found, _, _ = cut_off_each_epoch(
        make, tmp_path / "run", monkeypatch, lambda: (x, FACTOR * y + OFFSET), **options
    )
    assert same(values(found), values(whole))
    assert_alike(found.predict(x), whole.predict(x))


def test_another_model_around_the_network_knows_its_units() -> None:
    x, y = waves()
    first = build("mc-dropout", duda.Gaussian())
    before = duda.Deterministic(network(first), duda.Gaussian())
    duda.fit(first, (x, FACTOR * y + OFFSET), epochs=4, seed=0)
    expected = duda.Deterministic(network(first), duda.Gaussian()).predict(x)
    assert bool(((expected.mean - OFFSET).abs() < 10 * FACTOR).all())
    copied = duda.Deterministic(copy.deepcopy(network(first)), duda.Gaussian())
    several = duda.DeepEnsemble([network(first)], duda.Gaussian())
    around = duda.TestTimeAugmentation(first, transforms=[lambda x: x])
    for other in (before, copied, several):
        assert_alike(other.predict(x), expected)
    assert around.target_scale == copied.target_scale == first.target_scale
    posterior = duda.Laplace(network(first), duda.Gaussian(), approximation="closed-form")
    posterior.fit_posterior((x, FACTOR * y + OFFSET))
    answer = posterior.predict(x)
    for unit, one, other in zip(FACTOR, answer.mean.T, expected.mean.T, strict=True):
        torch.testing.assert_close(one / unit, other / unit, rtol=0, atol=1e-6)


def test_networks_of_different_units_make_no_ensemble() -> None:
    x, y = waves()
    models = [build("deterministic", duda.Gaussian()) for _ in range(2)]
    for factor, model in zip((1.0, 50.0), models, strict=True):
        duda.fit(model, (x, factor * y), epochs=1)
    with pytest.raises(ValueError, match="a network was trained with TargetScale"):
        duda.DeepEnsemble([network(model) for model in models], duda.Gaussian())


def test_a_network_that_was_trained_elsewhere_keeps_the_targets_units() -> None:
    x, y = waves()
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 4)).double()
    posterior = duda.Laplace(net, duda.Gaussian())
    posterior.fit_posterior((x, 3 * y))
    assert posterior.target_scale is None
    make = lambda: copy.deepcopy(net)  # noqa: E731
    heads = duda.SubEnsemble(make, duda.Gaussian(), trained=net, members=2)
    duda.fit(heads, (x, 3 * y), epochs=1)
    assert heads.target_scale is None
    model = duda.Deterministic(net, duda.Gaussian())
    duda.fit(model, (x, 3 * y), epochs=1, target_scale=None)
    assert model.target_scale is None
    mean, _ = model.likelihood.moments(net(x))
    torch.testing.assert_close(model.predict(x).mean, mean.detach())


def test_a_scale_stays_while_targets_are_of_its_order() -> None:
    x, y = waves()
    model = build("deterministic", duda.Gaussian())
    duda.fit(model, (x, y), epochs=1)
    first = model.target_scale
    duda.fit(model, (x, 2 * y + 1), epochs=1)
    assert model.target_scale == first
    duda.fit(model, (x, 100 * y), epochs=1)
    assert model.target_scale == duda.TargetScale.of(100 * y)
    duda.fit(model, (x, y), epochs=1, target_scale=duda.TargetScale([0, 0], [2, 2]))
    assert model.target_scale == duda.TargetScale([0, 0], [2, 2])


def test_standardised_targets_are_nearly_left_as_they_are() -> None:
    x, y = waves()
    y = (y - y.mean(0)) / y.std(0, correction=0)
    found = []
    for option in ("auto", None):
        model = build("deterministic", duda.Gaussian())
        duda.fit(model, (x, y), epochs=5, seed=0, target_scale=option)
        found.append(model.predict(x))
    assert_alike(*(moved(each) for each in found))


@pytest.mark.parametrize("method", ["deterministic", "deep-ensemble"])
def test_a_loop_of_ones_own_finds_it_by_a_hook_or_is_told(method: str) -> None:
    x, y = waves()
    y = FACTOR * y + OFFSET
    for told in ("hook", "scale"):
        model = build(method, duda.Gaussian())
        if told == "hook":
            model.on_fit_start(FitState(examples=len(x), batches=lambda: iter([(x, y)])))
        else:
            model.target_scale = duda.TargetScale.of(y)
        optimizer = torch.optim.Adam(model.parameters(), 0.02)
        for _ in range(60):
            optimizer.zero_grad()
            model.loss(x, y).backward()
            optimizer.step()
        answer = model.eval().predict(x)
        assert bool((answer.loss(y).mean(0).sqrt() < FACTOR).all())
        with torch.no_grad():
            loss = float(model.loss(x, y))
        assert loss == pytest.approx(-float(answer.log_prob(y).sum(1).mean()))


def test_whoever_takes_draws_has_them_in_the_targets_units() -> None:
    x, y = waves()
    model = build("mc-dropout", duda.Gaussian())
    duda.fit(model, (x, FACTOR * y + OFFSET), epochs=20, lr=0.02, seed=0)
    answer = model.predict(x, samples=8, seed=0, keep_draws=True, joint=True)
    curves = duda.function_draws(model, x, samples=8, seed=0)
    torch.testing.assert_close(curves.mean(0), answer.mean, rtol=1e-12, atol=0)
    for component, curve in zip(answer.components(), curves, strict=True):
        assert torch.equal(component.mean, curve)
    variance = curves.var(0, correction=0)
    torch.testing.assert_close(answer.epistemic, variance, rtol=1e-4, atol=0)
    assert math.isfinite(duda.evaluation.joint_nll(answer, FACTOR * y + OFFSET))


def test_conformal_intervals_are_in_the_targets_units() -> None:
    x, y = waves(300)
    model = build("deterministic", duda.Laplacian())
    duda.fit(model, (x, FACTOR * y + OFFSET), epochs=20, lr=0.02, seed=0)
    conformal = ConformalRegressor(0.1).fit(model.predict(x), FACTOR * y + OFFSET)
    x, y = waves(300, seed=1)
    y = FACTOR * y + OFFSET
    found = conformal(model.predict(x))
    held = (found.lower <= y) & (y <= found.upper)
    assert bool((held.double().mean(0) > 0.8).all())
    assert bool(((found.upper - found.lower).mean(0) < 5 * FACTOR).all())


def test_callbacks_see_losses_in_the_targets_units() -> None:
    x, y = waves()
    seen = []

    class Looking:
        def on_outputs(self, state: FitState) -> None:
            seen.append(state.outputs.losses["loss"].detach().mean())

    model = build("deterministic", duda.Gaussian())
    duda.fit(model, (x, FACTOR * y), epochs=1, callbacks=[Looking()])
    expected = model.eval().loss(x, FACTOR * y).detach()
    assert float(seen[0]) == pytest.approx(float(expected))


def test_what_is_no_scale_is_told() -> None:
    x, y = waves()
    model = build("deterministic", duda.Gaussian())
    for wrong in ("standard", 1.0, True):
        with pytest.raises(TypeError, match=r"`target_scale` is .* expected 'auto', None, or a"):
            duda.fit(model, (x, y), epochs=1, target_scale=wrong)
    classes = duda.Deterministic(nn.Linear(3, 2).double(), duda.Categorical())
    with pytest.raises(TypeError, match="targets of a Categorical have no units"):
        duda.fit(classes, (x, y[:, 0].long() % 2), epochs=1, target_scale=duda.TargetScale(0, 1))
    for mean, std in ((0.0, 0.0), ([0.0, 1.0], 1.0), (0.0, -1.0)):
        with pytest.raises(ValueError, match="with `std` above 0"):
            duda.TargetScale(mean, std)
    with pytest.raises(ValueError, match="`y` holds no target"):
        duda.TargetScale.of(iter([]))
