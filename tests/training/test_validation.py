"""Validation judges what will be predicted: not one draw of it, and no penalty."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import duda
from duda import ClassPrediction, QuantilePrediction
from duda.hooks import FitState
from duda.likelihoods import LIKELIHOODS
from duda.methods import METHODS, UncertainModel
from duda.predictions import Prediction
from tests.pairs import PAIRS, as_targets, takes_labels
from tests.training.models import classes, mlp, regression, same, seeded_model, values

# Their predictions need what is known after training alone, so that their mean is judged.
BY_THEIR_MEAN = ("laplace", "swag")


def network(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, width))


def build(method: str, likelihood: str) -> UncertainModel:
    meaning = LIKELIHOODS[likelihood]()
    width = meaning.width(2 if takes_labels(meaning) else 1)
    return seeded_model(lambda: METHODS[method].from_factory(lambda: network(width), meaning))


def data(model: UncertainModel, n: int) -> tuple[Tensor, Tensor]:
    x, y = classes(n) if takes_labels(model.likelihood) else regression(n)
    return x, as_targets(model.likelihood, y)


def nll(answer: Prediction, y: Tensor) -> float:
    """Return the mean of -log p(y), or the pinball loss, by hand."""
    if isinstance(answer, ClassPrediction):
        return float(-answer.log_probs[range(len(y)), y.flatten().long()].mean())
    if isinstance(answer, QuantilePrediction):
        above = y.unsqueeze(1) - answer.quantiles
        levels = answer.levels.view(1, -1, 1)
        return float(
            torch.where(above > 0, levels * above, (levels - 1) * above).sum((1, 2)).mean()
        )
    return float(-answer.log_prob(y).sum(1).mean())


def predicted(model: UncertainModel, method: str, x: Tensor) -> Prediction:
    """Return the prediction that is to be judged."""
    if method in BY_THEIR_MEAN:
        return duda.Deterministic(model.network, model.likelihood).predict(x, seed=0)
    if method == "test-time-augmentation":
        return model.model.predict(x, seed=0)
    return model.predict(x, seed=0, samples=min(model.samples, 20))


@pytest.mark.parametrize(("method", "likelihood"), PAIRS)
def test_it_is_the_nll_of_the_prediction_always_the_same(method: str, likelihood: str) -> None:
    model = build(method, likelihood)
    x, y = data(model, 30)
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    value = model.validation_loss(x, y)
    # Whose reduction takes noise from a seed that comes after those of the draws.
    rel = 0.1 if likelihood == "sampled-softmax" else 1e-4
    assert float(value) == pytest.approx(nll(predicted(model, method, x), y), rel=rel)
    with torch.no_grad():
        for _ in range(3):
            assert torch.equal(model.eval().loss(x, y), value)
    assert torch.equal(torch.get_rng_state(), state)
    assert same(before, model.state_dict())
    model.on_epoch_start(FitState(examples=30))
    assert model.loss(x, y).requires_grad  # whoever trains in eval mode does


@pytest.mark.parametrize(("method", "likelihood"), PAIRS)
def test_fit_goes_by_it(method: str, likelihood: str) -> None:
    model = build(method, likelihood)
    found: list[float] = []
    x, y = data(model, 40)

    class Judge:
        def on_epoch_end(self, state: FitState) -> None:
            found.append(float(state.model.validation_loss(x, y)))

    history = duda.fit(
        model, data(model, 50), epochs=3, lr=0.01, validation=(x, y), seed=0, callbacks=[Judge()]
    )
    assert history.validation_losses is not None
    losses = history.validation_losses
    if history.vectorized:
        losses = losses.T  # whose epochs end together
    assert losses.flatten().tolist() == pytest.approx(found, rel=1e-5)


def test_all_epochs_have_the_same_noise() -> None:
    model = build("mc-dropout", "categorical")
    x, y = classes(40)
    history = duda.fit(
        model, (x, y), epochs=4, lr=1e-12, validation=(x, y), optimizer=torch.optim.SGD
    )
    assert history.validation_losses is not None
    assert history.validation_losses.unique().numel() == 1
    loader = DataLoader(TensorDataset(x, y), 8, shuffle=True)  # which has one order in each epoch
    history = duda.fit(
        model, (x, y), epochs=4, lr=1e-12, validation=loader, optimizer=torch.optim.SGD
    )
    assert history.validation_losses is not None
    assert history.validation_losses.unique().numel() == 1


def test_the_kept_epoch_predicts_best() -> None:
    x, y = classes(400)
    flipped = torch.rand(400, generator=torch.Generator().manual_seed(1)) < 0.3
    y = torch.where(flipped, 1 - y, y)
    for make in (duda.MCDropout, duda.Variational):
        model = seeded_model(lambda make=make: make(network(2), duda.Categorical()))
        by_epoch: list[float] = []

        class Judge:
            def on_epoch_end(self, state: FitState, by_epoch: list[float] = by_epoch) -> None:
                answer = state.model.predict(x[200:], seed=0, samples=20, batch_size=128)
                by_epoch.append(nll(answer, y[200:]))

        history = duda.fit(
            model,
            (x[:200], y[:200]),
            epochs=60,
            lr=0.03,
            validation=(x[200:], y[200:]),
            seed=0,
            callbacks=[Judge()],
        )
        best = min(range(60), key=by_epoch.__getitem__)
        assert history.best_epochs == [best + 1]
        answer = model.predict(x[200:], seed=0, samples=20, batch_size=128)
        assert nll(answer, y[200:]) == pytest.approx(by_epoch[best], rel=1e-5)


@pytest.mark.parametrize("targets", ["soft", "ignored", "positions"])
@pytest.mark.parametrize("likelihood", ["categorical", "sampled-softmax", "dirichlet"])
def test_targets_of_all_kinds(likelihood: str, targets: str) -> None:
    if targets == "ignored" and likelihood == "dirichlet":
        pytest.skip("it ignores no label")
    options = {"ignore_index": 9} if targets == "ignored" else {}
    meaning = LIKELIHOODS[likelihood](**options)
    model = duda.MCDropout(
        nn.Sequential(nn.Conv1d(3, 8, 1), nn.Dropout(0.2), nn.Conv1d(8, meaning.width(2), 1)),
        meaning,
    )
    x = torch.randn(20, 3, 5)
    labels = (x[:, 0] > 0).long()
    y, weight = labels, torch.ones(20, 5)
    if targets == "ignored":
        y, weight = labels.clone(), (torch.rand(20, 5) < 0.7).float()
        y[weight == 0] = 9
    shares = F.one_hot(labels, 2).movedim(2, 1).float()
    if targets == "soft":
        shares = y = 0.8 * shares + 0.1
    log_probs = model.predict(x, seed=0, samples=20).log_probs
    expected = float((-(shares * log_probs).sum(1) * weight).sum() / weight.sum())
    rel = 0.1 if likelihood == "sampled-softmax" else 1e-5
    assert float(model.validation_loss(x, y)) == pytest.approx(expected, rel=rel)
    history = duda.fit(
        model,
        (x, y),
        epochs=1,
        lr=1e-12,
        optimizer=torch.optim.SGD,
        validation=(x, y),
        batch_size=7,
    )
    assert history.validation_losses is not None
    assert float(history.validation_losses) == pytest.approx(expected, rel=max(rel, 0.02))


def test_targets_of_which_none_counts() -> None:
    model = duda.Deterministic(mlp(), duda.Categorical(ignore_index=9))
    x, y = classes()
    with pytest.raises(ValueError, match="`validation` has no target that counts"):
        duda.fit(model, (x, y), epochs=1, validation=(x, torch.full_like(y, 9)))


def test_wrong_targets_of_a_loader_are_told() -> None:
    x, y = classes()
    loader = DataLoader(TensorDataset(x, y + 7), 16)
    for model in (
        duda.Deterministic(mlp(), duda.Categorical()),
        duda.DeepEnsemble(mlp, duda.Categorical(), members=2),
    ):
        with pytest.raises(ValueError, match="`y` holds the label"):
            duda.fit(model, (x, y), epochs=1, validation=loader)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_vectorised_members_are_judged_alike(likelihood: str) -> None:
    if likelihood == "sampled-softmax":
        pytest.skip("its loss is random, which one step for all is not")
    found = []
    for vectorize in (False, True):
        meaning = LIKELIHOODS[likelihood]()
        width = meaning.width(2 if takes_labels(meaning) else 1)
        model: Any = seeded_model(
            lambda meaning=meaning, width=width: duda.DeepEnsemble(
                lambda: nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, width)), meaning, 3
            ),
            dtype=torch.float64,
        )
        x, y = (t.double() if t.is_floating_point() else t for t in data(model, 40))
        history = duda.fit(
            model, (x, y), epochs=3, seed=0, validation=(x, y), batch_size=16, vectorize=vectorize
        )
        found.append((history.validation_losses, values(model)))
    torch.testing.assert_close(*found)
