"""Terms of a loss that grow with training: their weight is a state of the model alone."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import duda
from duda.hooks import FitState
from duda.likelihoods import LIKELIHOODS
from tests.training.models import classes, mlp, same, seeded_model, values
from tests.training.test_checkpoint import cut_off_each_epoch

X, Y = classes()


def weight_of(model: duda.UncertainModel) -> float:
    """Return the weight of the KL divergence in the loss."""
    likelihood = model.likelihood
    outputs = model(X).detach()
    none, full = (float(likelihood.loss(outputs, Y, weight)) for weight in (0.0, 1.0))
    return (float(model.loss(X, Y).detach()) - none) / (full - none)


def dirichlet(likelihood: duda.Dirichlet | None = None) -> duda.UncertainModel:
    likelihood = likelihood or duda.Dirichlet()
    return seeded_model(lambda: duda.Deterministic(mlp(), likelihood))


class Weights:
    """Notes the weight in each step."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_step_end(self, state: FitState) -> None:
        self.found.append(state.model.annealed)


class Stop:
    def on_epoch_start(self, state: FitState) -> None:
        if state.epoch == 2:
            raise KeyboardInterrupt


def test_likelihoods_say_how_long_and_are_frozen() -> None:
    epochs = {name: kind.annealing_epochs for name, kind in LIKELIHOODS.items()}
    assert epochs.pop("dirichlet") == 10
    assert set(epochs.values()) == {0}
    assert not hasattr(duda.Dirichlet(), "anneal")


def test_weight_grows_in_training_mode_and_is_full_otherwise() -> None:
    model = dirichlet()
    assert weight_of(model.eval()) == pytest.approx(1)
    for epoch, weight in ((0, 0.0), (3, 0.3), (10, 1.0), (99, 1.0)):
        model.on_epoch_start(FitState(epoch=epoch, epochs=100))
        assert weight_of(model.train()) == pytest.approx(weight, abs=1e-6)
        assert weight_of(model.eval()) == pytest.approx(1)
    model.train().on_epoch_start(FitState(epoch=1))
    model.on_fit_end(FitState())
    assert weight_of(model) == pytest.approx(1)


def test_fit_lets_it_grow_epoch_by_epoch_and_leaves_it_full() -> None:
    model, weights = dirichlet(), Weights()
    duda.fit(model, (X, Y), epochs=12, batch_size=50, callbacks=[weights])
    assert weights.found == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1])
    assert weight_of(model.train()) == pytest.approx(1)


def test_a_validation_has_none_of_it() -> None:
    model = dirichlet()
    history = duda.fit(model, (X, Y), epochs=1, validation=(X, Y))
    assert history.validation_losses is not None
    nll = -model.predict(X).log_probs[range(len(Y)), Y].mean()
    assert float(history.validation_losses) == pytest.approx(float(nll), rel=1e-6)


@pytest.mark.parametrize("members", [None, 3])
def test_a_fit_that_dies_leaves_it_full(members: int | None) -> None:
    model = dirichlet()
    if members:
        model = duda.DeepEnsemble(mlp, duda.Dirichlet(), members)
    with pytest.raises(KeyboardInterrupt):
        duda.fit(model, (X, Y), epochs=5, callbacks=[Stop()])
    assert model.training_epoch is None
    if not members:
        assert weight_of(model.train()) == pytest.approx(1)


def test_two_models_of_one_likelihood_have_each_their_epoch() -> None:
    shared = duda.Dirichlet()
    one, other = dirichlet(shared), dirichlet(shared)
    before = float(other.eval().loss(X, Y).detach())
    one.on_epoch_start(FitState(epoch=2))
    assert weight_of(one) == pytest.approx(0.2, abs=1e-6)
    assert weight_of(other) == pytest.approx(1)
    assert float(other.loss(X, Y).detach()) == before

    class TrainsAnother:
        def on_epoch_start(self, state: FitState) -> None:
            if state.epoch == 1:
                duda.fit(dirichlet(shared), (X, Y), epochs=1)

    alone = dirichlet()
    duda.fit(alone, (X, Y), epochs=4, seed=0)
    duda.fit(one, (X, Y), epochs=4, seed=0, callbacks=[TrainsAnother()])
    assert same(values(one), values(alone))


@pytest.mark.parametrize("patience", [None, 1])
def test_members_of_one_step_grow_as_those_of_a_loop(patience: int | None) -> None:
    x, y = classes(50, torch.float64)
    found: list[Any] = []
    for vectorize in (False, True):
        model = seeded_model(
            lambda: duda.DeepEnsemble(mlp, duda.Dirichlet(), 3), dtype=torch.float64
        )
        history = duda.fit(
            model,
            (x, y),
            epochs=9,
            lr=0.1,
            batch_size=8,
            seed=2,
            validation=classes(30, torch.float64),
            patience=patience,
            vectorize=vectorize,
        )
        found.append((values(model), history.losses.nan_to_num(9)))
    torch.testing.assert_close(*found)
    epochs = (found[0][1] != 9).sum(1).tolist()
    # The first has stopped while others go on, and their weights still grow.
    assert patience is None or epochs == [4, 7, 2]


METHODS: dict[str, Any] = {
    "batch-ensemble": lambda: duda.BatchEnsemble(mlp(), duda.Dirichlet()),
    "sub-ensemble": lambda: duda.SubEnsemble(mlp, duda.Dirichlet(), members=2, joint=True),
    "augmented": lambda: duda.TestTimeAugmentation(dirichlet()),
    "laplace-free": lambda: duda.MCDropConnect(mlp(), duda.Dirichlet()),
    "variational": lambda: duda.Variational(mlp(), duda.Dirichlet(), examples=10**12),
}


@pytest.mark.parametrize("method", METHODS)
def test_every_loss_grows(method: str) -> None:
    weights = []
    model = METHODS[method]()
    for epoch in (0, 5, 10):
        model.on_epoch_start(FitState(epoch=epoch))
        torch.manual_seed(0)
        weights.append(float(model.loss(X, Y).detach()))
    low, middle, high = weights
    assert low < middle < high
    assert middle == pytest.approx((low + high) / 2, rel=1e-4)


@pytest.mark.parametrize("build", ["dirichlet", "members", "variational"])
def test_a_run_that_is_cut_off_goes_on_with_its_weight(
    build: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = {
        "dirichlet": dirichlet,
        "members": lambda: seeded_model(lambda: duda.DeepEnsemble(mlp, duda.Dirichlet(), 2)),
        "variational": lambda: seeded_model(
            lambda: duda.Variational(mlp(), duda.Categorical(), annealing_epochs=3)
        ),
    }[build]
    whole = make()
    duda.fit(whole, (X, Y), epochs=4, batch_size=16, seed=4)
    found, _, attempts = cut_off_each_epoch(
        make, tmp_path / "run", monkeypatch, data=classes, epochs=4, batch_size=16, seed=4
    )
    assert attempts >= 4
    assert same(values(found), values(whole))


def test_a_likelihood_with_a_loss_of_its_own_need_not_know() -> None:
    class Plain(duda.Categorical):
        def loss(self, outputs: Tensor, y: Tensor) -> Tensor:  # type: ignore[override]
            return super().loss(outputs, y)

    model = duda.Deterministic(mlp(), Plain())
    history = duda.fit(model, (X, Y), epochs=2)
    assert bool(history.losses.isfinite().all())


def test_a_likelihood_of_version_0_1_is_told() -> None:
    with pytest.warns(DeprecationWarning, match="Old defines `anneal`, which nobody calls now"):

        class Old(duda.Categorical):
            def anneal(self, epoch: int | None) -> None: ...


def test_a_copy_in_the_middle_has_its_own_epoch() -> None:
    model = dirichlet()
    model.on_epoch_start(FitState(epoch=4))
    twin = copy.deepcopy(model)
    model.on_fit_end(FitState())
    assert weight_of(twin) == pytest.approx(0.4, abs=1e-6)
    assert isinstance(twin, nn.Module)


OWN: dict[str, Any] = {
    **METHODS,
    "plain": dirichlet,
    "members": lambda: duda.DeepEnsemble(mlp, duda.Dirichlet(), 2),
}
del OWN["variational"]  # which is given its examples


def own_loop(model: duda.UncertainModel, epochs: int, batch_size: int = 16) -> list[float]:
    """Return the weight of what grows before each step of a loop that tells nothing."""
    weights = []
    inner = getattr(model, "model", model)  # of what wraps another
    for _ in range(epochs):
        for rows in torch.arange(len(X)).split(batch_size):
            weights.append(inner.annealed)
            model.loss(X[rows], Y[rows]).backward()
    return weights


@pytest.mark.parametrize("method", OWN)
def test_a_loop_that_tells_nothing_is_told_once(method: str) -> None:
    model = OWN[method]()
    with pytest.raises(ValueError, match=r"Dirichlet has a term that grows over 10 epochs, but"):
        model.loss(X, Y)
    assert own_loop(model, 1) == [1.0] * 4  # it goes on as it was told that it would
    model.eval()
    twin = OWN[method]().eval()
    assert bool(torch.isfinite(twin.loss(X, Y)))  # a validation needs nobody to tell
    with torch.no_grad():
        assert bool(torch.isfinite(twin.train().loss(X, Y)))
    twin.on_fit_start(FitState())  # which tells nothing of the examples
    with pytest.raises(ValueError, match="nothing tells the model which epoch this is"):
        twin.loss(X, Y)


@pytest.mark.parametrize("method", OWN)
def test_a_model_that_knows_the_examples_counts_its_epochs(method: str) -> None:
    model = OWN[method]()
    for _ in range(2):
        model.on_fit_start(FitState(examples=len(X)))
        weights = own_loop(model, 12)
        assert weights == pytest.approx([min(1.0, n // 4 / 10) for n in range(48)])
    model.on_fit_end(FitState(batches=lambda: iter([(X, Y)])))
    assert own_loop(model, 1) == [1.0] * 4  # as after a training by `fit`


def test_variational_counts_by_the_examples_that_it_was_given() -> None:
    model = duda.Variational(mlp(), duda.Dirichlet(), examples=len(X), annealing_epochs=3)
    shares = []
    for _ in range(5):
        shares += [model.grown(4, ahead=1), model.annealed]
        for rows in torch.arange(len(X)).split(16):
            model.loss(X[rows], Y[rows]).backward()
    assert shares == pytest.approx([0.25, 0, 0.5, 0.1, 0.75, 0.2, 1, 0.3, 1, 0.4])


def test_an_own_loop_learns_what_fit_learns() -> None:
    split = duda.datasets.load("digits", seed=0)
    (x, y), (x_test, y_test) = split.train, split.test

    def network() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    model, full, fitted = (
        seeded_model(lambda: duda.Deterministic(network(), duda.Dirichlet())) for _ in range(3)
    )
    duda.fit(fitted, (x, y), epochs=20, lr=3e-3, seed=0)
    model.on_fit_start(FitState(examples=len(x)))
    full.forget_epoch()
    for each in (model, full):
        optimizer = torch.optim.Adam(each.parameters(), 3e-3)
        for epoch in range(20):
            for rows in torch.randperm(
                len(x), generator=torch.Generator().manual_seed(epoch)
            ).split(128):
                optimizer.zero_grad()
                each.loss(x[rows], y[rows]).backward()
                optimizer.step()
    by_itself, without, by_fit = (
        float((each.predict(x_test).labels == y_test).float().mean())
        for each in (model, full, fitted)
    )
    assert without < 0.5 < by_fit - 0.2
    assert by_itself > by_fit - 0.05
