"""SWAG's moments by hand, the law of its draws, and BatchNorm's statistics for them."""

from __future__ import annotations

import copy
import math
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader, TensorDataset

import duda
from duda.hooks import FitState
from duda.methods.sampled_rows import sampled_rows
from duda.methods.swag.batch_norm import batch_norms, refreshed_statistics
from duda.sampling import new_seed, preserved
from tests.training.models import noisy, regression, same, seeded_model, values
from tests.training.test_checkpoint import cut_off_each_epoch

SGD = partial(torch.optim.SGD, momentum=0.9)


def linear() -> nn.Module:
    return nn.Linear(2, 2, bias=False).double()


def collected(iterates: Tensor, **arguments: Any) -> duda.SWAG:
    """Return a model of a linear network that had these weights one after the other."""
    model = duda.SWAG(linear(), duda.FixedGaussian(), **arguments)
    for iterate in iterates:
        with torch.no_grad():
            model.network.weight.copy_(iterate.view(2, 2))
        model.collect()
    return model


def by_hand(iterates: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, variance and deviations as in algorithm 1 of Maddox et al. 2019."""
    mean, square, columns = torch.zeros(4).double(), torch.zeros(4).double(), []
    for n, iterate in enumerate(iterates):
        mean = (n * mean + iterate) / (n + 1)
        square = (n * square + iterate**2) / (n + 1)
        columns.append(iterate - mean)
    return mean, square - mean**2, torch.stack(columns[-rank:])


def drawn_weights(model: duda.SWAG, samples: int) -> Tensor:
    """Return the weights of many draws: the outputs for unit vectors are the matrix's columns."""
    with preserved(model, seed=0):
        draws = torch.cat(list(model.sampler(samples)(torch.eye(2).double())))
    return draws.transpose(1, 2).flatten(1)


@pytest.mark.parametrize(("count", "rank"), [(2, 2), (3, 20), (7, 3), (6, 3)])
def test_moments_are_those_of_the_algorithm(count: int, rank: int) -> None:
    iterates = torch.randn(count, 4).double()
    model = collected(iterates, rank=rank)
    mean, variance, columns = by_hand(iterates, rank)
    torch.testing.assert_close(model.mean, mean)
    torch.testing.assert_close(model.squares / model.collected, variance)
    kept = model.deviations[: len(columns)]
    torch.testing.assert_close(kept.T @ kept, columns.T @ columns)  # the order means nothing
    assert model.collected == count


def test_the_variance_survives_a_large_mean() -> None:
    iterates = torch.randn(9, 4).double()
    moved = collected(iterates + 1e8)
    expected = iterates.var(0, correction=0)
    torch.testing.assert_close(moved.squares / moved.collected, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("count", "rank", "scale"), [(2, 20, 0.5), (5, 20, 0.5), (8, 3, 2.0)])
def test_draws_have_the_papers_law(count: int, rank: int, scale: float) -> None:
    iterates, m = torch.randn(count, 4).double(), 4000
    mean, variance, columns = by_hand(iterates, rank)
    low_rank = columns.T @ columns / (len(columns) - 1)
    expected = scale * (variance.diag() + low_rank)
    weights = drawn_weights(collected(iterates, rank=rank, scale=scale), m)
    spread = expected.diagonal()
    assert ((weights.mean(0) - mean).abs() <= 5 * (spread / m).sqrt()).all()
    found = (weights - mean).T @ (weights - mean) / m
    error = ((torch.outer(spread, spread) + expected**2) / m).sqrt()
    assert ((found - expected).abs() <= 5 * error).all()


def test_a_draw_has_the_same_weights_in_all_batches() -> None:
    model, x = collected(torch.randn(5, 4).double()), torch.randn(7, 2).double()
    one, other = (model.predict(x, seed=0, batch_size=n, keep_draws=True) for n in (7, 2))
    torch.testing.assert_close(one.draws, other.draws)
    together = model.predict(torch.cat([x, x]), seed=0, batch_size=7, keep_draws=True)
    assert torch.equal(together.draws[:, :7], together.draws[:, 7:])


def test_few_weights_are_drawn_once_for_all_batches_and_many_for_each() -> None:
    model, x = collected(torch.randn(6, 4)), torch.randn(6, 2)
    with patch.object(duda.SWAG, "_draw", autospec=True, side_effect=duda.SWAG._draw) as drawn:
        few = model.predict(x, samples=4, seed=0, batch_size=2)
        assert drawn.call_count == 4
        with patch("duda.methods.swag.swag._KEPT_BYTES", 0):
            many = model.predict(x, samples=4, seed=0, batch_size=2)
    assert drawn.call_count == 4 + 4 * 3
    assert torch.equal(few.mean, many.mean)


def test_a_network_that_writes_to_its_weights_has_new_ones_in_each_batch() -> None:
    class Writing(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            self.weight.mul_(0.5)
            return super().forward(x)

    model, x = collected(torch.randn(6, 4)), torch.randn(1, 2).expand(4, 2)
    model.network.__class__ = Writing
    draws = model.predict(x, samples=3, seed=0, batch_size=2, keep_draws=True).draws
    assert torch.equal(draws[:, :2], draws[:, 2:])


def test_fewer_draws_are_the_first_of_more() -> None:
    model, x = collected(torch.randn(5, 4).double()), torch.randn(7, 2).double()
    few, many = (model.predict(x, samples=n, seed=0, keep_draws=True).draws for n in (3, 9))
    assert torch.equal(few, many[:3])


def test_weights_that_do_not_train_stay() -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    net[0].requires_grad_(False)
    model = duda.SWAG(net, duda.Gaussian())
    assert len(model.mean) == 10
    duda.fit(model, regression(), epochs=4, seed=0)
    with preserved(model, seed=0):
        assert model._draw(0, 0).keys() == {"1.weight", "1.bias"}


def trained(network: Any = noisy, epochs: int = 6, **arguments: Any) -> duda.SWAG:
    model = seeded_model(lambda: duda.SWAG(network(), duda.Gaussian(), **arguments))
    duda.fit(model, regression(), epochs=epochs, optimizer=SGD, lr=0.01, seed=0)
    return model


@pytest.mark.parametrize(
    ("epochs", "start", "count"), [(1, 0.5, 1), (2, 0.5, 2), (6, 0.5, 4), (6, 0.0, 6), (10, 0.9, 2)]
)
def test_fit_collects_from_the_start_on(epochs: int, start: float, count: int) -> None:
    assert trained(epochs=epochs, start=start).collected == count


def test_moments_are_those_of_the_ends_of_epochs() -> None:
    seen: list[Tensor] = []

    class Watched(duda.SWAG):
        def on_epoch_end(self, state: FitState) -> None:
            super().on_epoch_end(state)
            seen.append(torch.cat([w.detach().flatten() for w in self.network.parameters()]))

    model = seeded_model(lambda: Watched(noisy(), duda.Gaussian()))
    duda.fit(model, regression(), epochs=6, seed=0)
    assert len(seen) == 6
    expected = torch.stack(seen[2:]).double()
    torch.testing.assert_close(model.mean, expected.mean(0))
    torch.testing.assert_close(model.squares / 4, expected.var(0, correction=0))


def test_another_training_forgets_the_first() -> None:
    once, twice = trained(), trained()
    weights = copy.deepcopy(once.network.state_dict())
    duda.fit(twice, regression(), epochs=6, optimizer=SGD, lr=0.01, seed=1)
    once = seeded_model(lambda: duda.SWAG(noisy(), duda.Gaussian()))
    once.network.load_state_dict(weights)
    duda.fit(once, regression(), epochs=6, optimizer=SGD, lr=0.01, seed=1)
    assert same(values(once), values(twice))


def test_a_run_that_is_cut_off_has_the_same_moments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build() -> duda.UncertainModel:
        return seeded_model(lambda: duda.SWAG(noisy(), duda.Gaussian(), rank=3))

    whole = build()
    duda.fit(whole, regression(), epochs=6, seed=0)
    found, _, attempts = cut_off_each_epoch(build, tmp_path / "run", monkeypatch, epochs=6, seed=0)
    assert attempts >= 6
    assert same(values(found), values(whole))
    # Once more with a model that has its inputs already: the file is that of a finished run.
    duda.fit(found, regression(), epochs=6, seed=0, checkpoint=tmp_path / "run")
    assert same(values(found), values(whole))
    other = seeded_model(lambda: duda.SWAG(noisy(), duda.Gaussian(), rank=3, start=0.0))
    with pytest.raises(ValueError, match="of another run: its network"):
        duda.fit(other, regression(), epochs=6, seed=0, checkpoint=tmp_path / "run")


def test_with_validation_the_iterates_end_with_the_best_epoch() -> None:
    model = seeded_model(lambda: duda.SWAG(noisy(), duda.Gaussian(), start=0.0))
    history = duda.fit(
        model, regression(), epochs=12, lr=0.2, seed=0, validation=regression(20), patience=3
    )
    best = int(history.best_epochs[0])
    assert best < history.losses.shape[1]
    assert model.collected == best


def test_statistics_are_those_of_a_refresh_by_hand() -> None:
    net = nn.Sequential(
        nn.Unflatten(1, (1, 3)),
        nn.Conv1d(1, 4, 2),
        nn.BatchNorm1d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8, 5),
        nn.BatchNorm1d(5),
        nn.Linear(5, 2),
    ).double()
    x, _ = regression(256, torch.float64)
    with torch.no_grad():
        net(x)
    before, changed = copy.deepcopy(net.state_dict()), copy.deepcopy(net).train()
    with torch.no_grad():
        weights = {name: torch.randn_like(w) for name, w in net.named_parameters()}
        changed.load_state_dict(weights, strict=False)
        found = refreshed_statistics(net.eval(), batch_norms(net), weights, x)
    update_bn(DataLoader(TensorDataset(x), batch_size=128), changed)
    expected = {n: b for n, b in changed.named_buffers() if n in found}
    assert len(expected) == len(found) == 6
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    assert same(values(net), before)
    assert not any(module.training for module in net.modules())
    assert net[2].momentum == 0.1


def test_each_draw_is_normalised_by_its_own_statistics() -> None:
    model, (x, _) = trained(), regression()
    answer = model.predict(x, samples=3, seed=0, keep_draws=True)
    with preserved(model, seed=0):
        seed = new_seed()
        for number, found in enumerate(answer.draws):
            net = copy.deepcopy(model.network)
            net.load_state_dict(model._draw(seed, number), strict=False)
            net[1].reset_running_stats()
            net[1].momentum, net[1].training = None, True
            net(x)
            outputs = net.eval()(x)
            expected = model.likelihood.reduce(outputs[None], keep_draws=True).draws
            torch.testing.assert_close(found.float(), expected[0].float())


def test_kept_inputs_are_rows_of_all_the_data() -> None:
    data = torch.arange(1000.0)[:, None]
    kept = sampled_rows(iter(data.split(64)), 100)
    assert isinstance(kept, Tensor)
    assert kept.shape == (100, 1)
    assert len(kept.unique()) == 100
    error = math.sqrt(1000**2 / 12 / 100 * 0.9)
    assert abs(float(kept.mean()) - 499.5) <= 5 * error
    halves = kept[:50].mean() - kept[50:].mean()
    assert abs(float(halves)) <= 5 * 2 * error
    everything = sampled_rows(iter(data.split(64)), 2000)
    assert isinstance(everything, Tensor)
    assert torch.equal(everything.sort(0).values, data)
    named = sampled_rows(iter([{"a": d, "b": -d} for d in data.split(64)]), 100)
    assert isinstance(named, dict)
    assert torch.equal(named["a"], kept)
    assert torch.equal(named["b"], -kept)


def test_every_row_is_kept_as_often() -> None:
    """Over random orders of the data, which the keys do not know, each place has the same share."""
    trials, counts = 400, torch.zeros(30)
    for _ in range(trials):
        order = torch.randperm(30)
        kept = sampled_rows(iter(order.split(7)), 10)
        counts[kept] += 1
    assert ((counts / trials - 1 / 3).abs() <= 5 * math.sqrt(2 / 9 / trials)).all()


def test_a_new_model_takes_the_state_and_the_inputs() -> None:
    model, (x, _) = trained(bn_examples=20), regression()
    new = duda.SWAG(noisy(), duda.Gaussian())
    new.load_state_dict(model.state_dict())
    assert torch.equal(new.predict(x, seed=0).mean, model.predict(x, seed=0).mean)
    assert len(model.state_dict()["inputs."]) == 20
    plain = trained(lambda: nn.Linear(3, 2))
    other = duda.SWAG(nn.Linear(3, 2), duda.Gaussian())
    other.load_state_dict(plain.state_dict())
    assert torch.equal(other.predict(x, seed=0).mean, plain.predict(x, seed=0).mean)


class Named(nn.Module):
    """Takes named inputs, and puts out a mean and a scale."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 2))

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.inner(torch.stack([left, right], dim=1))


def test_named_inputs() -> None:
    x, y = regression()
    inputs = {"left": x[:, 0], "right": x[:, 1]}
    model, new = (duda.SWAG(Named(), duda.Gaussian()) for _ in range(2))
    duda.fit(model, (inputs, y), epochs=4, seed=0)
    new.load_state_dict(model.state_dict())
    assert model.state_dict().keys() >= {"inputs.left", "inputs.right"}
    assert torch.equal(new.predict(inputs, seed=0).mean, model.predict(inputs, seed=0).mean)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_moments_keep_their_precision(dtype: torch.dtype) -> None:
    model, (x, _) = trained(), regression()
    before = model.predict(x, seed=0)
    model.to(dtype)
    assert model.mean.dtype == model.squares.dtype == torch.float64
    answer = model.predict(x, seed=0)
    torch.testing.assert_close(answer.mean, before.mean, rtol=0.1, atol=0.1)


def test_a_loop_of_ones_own() -> None:
    (x, y), model = regression(), seeded_model(lambda: duda.SWAG(noisy(), duda.Gaussian()))
    optimizer = SGD(model.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        model.loss(x, y).backward()
        optimizer.step()
        model.collect()
    with pytest.raises(ValueError, match=r"has BatchNorm, but .*`model\.on_fit_end"):
        model.predict(x)
    model.on_fit_end(FitState(batches=lambda: iter([(x, y)])))
    assert bool((model.predict(x, seed=0).epistemic > 0).all())


@pytest.mark.parametrize("count", [0, 1])
def test_without_iterates_the_remedy_is_told(count: int) -> None:
    model = collected(torch.randn(count, 4).double())
    with pytest.raises(ValueError, match=rf"collected {count} iterates, .*more epochs.*collect"):
        model.predict(torch.zeros(2, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start": 1.0}, "`start` is 1.0"),
        ({"start": -0.1}, "`start` is -0.1"),
        ({"rank": 1}, "`rank` is 1, expected at least 2"),
        ({"rank": 0}, "`rank` is 0"),
        ({"scale": 0.0}, "`scale` is 0.0"),
        ({"scale": math.inf}, "`scale` is inf"),
        ({"bn_examples": 0}, "`bn_examples` is 0"),
        ({"samples": 0}, "`samples` is 0"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        duda.SWAG(linear(), duda.FixedGaussian(), **arguments)


def test_a_network_must_have_something_to_train() -> None:
    with pytest.raises(ValueError, match="no weight that requires a gradient"):
        duda.SWAG(linear().requires_grad_(False), duda.FixedGaussian())


class Frozen(nn.Sequential):
    """Holds some of its layers in eval mode, as when a trained network is trained further."""

    def train(self, mode: bool = True) -> nn.Sequential:
        super().train(mode)
        self[1].eval()
        return self


def two_norms() -> nn.Module:
    return Frozen(
        nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4), nn.BatchNorm1d(4)
    ).append(nn.Linear(4, 2))


@pytest.mark.parametrize("own_loop", [False, True])
def test_only_statistics_that_train_are_computed_anew(own_loop: bool) -> None:
    (x, y), net = regression(), two_norms()
    net[1].running_mean.fill_(0.3)
    net[1].num_batches_tracked.fill_(7)  # from a training before
    model = duda.SWAG(net, duda.Gaussian())
    if own_loop:
        optimizer = SGD(model.parameters(), lr=0.01)
        model.train()
        for _ in range(3):
            optimizer.zero_grad()
            model.loss(x, y).backward()
            optimizer.step()
            model.collect()
        model.on_fit_end(FitState(batches=lambda: iter([(x, y)])))
    else:
        duda.fit(model, (x, y), epochs=6, lr=0.01, seed=0)
    other = duda.SWAG(two_norms(), duda.Gaussian())
    other.load_state_dict(model.state_dict())
    for each in (model, other):
        with preserved(each, seed=0):
            assert each._statistics(partial(each._draw, 0), 1)[0].keys() == {
                f"4.{kind}" for kind in ("running_mean", "running_var", "num_batches_tracked")
            }
    assert torch.equal(other.predict(x, seed=0).mean, model.predict(x, seed=0).mean)


def test_without_a_norm_that_trains_no_inputs_are_kept() -> None:
    net = Frozen(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    model = duda.SWAG(net, duda.Gaussian())
    duda.fit(model, regression(), epochs=6, lr=0.01, seed=0)
    assert model._inputs is None
    assert bool((model.predict(regression()[0], seed=0).epistemic > 0).all())


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.turns = nn.Parameter(torch.randn(3, 4, dtype=torch.complex128))
        self.last = nn.Linear(4, 2).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.last((x.to(self.turns.dtype) @ self.turns).abs())


def test_complex_weights_have_both_their_parts() -> None:
    model, iterates = duda.SWAG(Complex(), duda.Gaussian()), []
    for _ in range(5):
        with torch.no_grad():
            model.network.turns.copy_(torch.randn_like(model.network.turns))
        iterates.append(torch.view_as_real(model.network.turns.detach()).clone())
        model.collect()
    torch.testing.assert_close(model.mean[:24].view(3, 4, 2), torch.stack(iterates).mean(0))
    with preserved(model, seed=0):
        draws = torch.stack([model._draw(0, m)["turns"] for m in range(4000)])
    assert draws.dtype == torch.complex128
    mean = torch.stack(iterates).mean(0)
    error = torch.view_as_real(draws).std(0) / math.sqrt(len(draws))
    assert ((torch.view_as_real(draws).mean(0) - mean).abs() <= 5 * error).all()
    duda.fit(model, regression(dtype=torch.float64), epochs=4, seed=0)
    answer = model.predict(regression(dtype=torch.float64)[0], seed=0)
    assert bool((answer.epistemic > 0).all())
