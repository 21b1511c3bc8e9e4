"""A loop of one's own with `model.loss` and the hooks does what `fit` does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import duda
from duda.hooks import FitState
from duda.likelihoods import LIKELIHOODS, Likelihood
from duda.methods import METHODS, UncertainModel
from duda.sampling import seeded
from duda.training.data import TensorData
from duda.training.seeds import epoch_seed
from tests.pairs import PAIRS, as_targets, takes_labels

N, EPOCHS = 20, 4


def data(likelihood: Likelihood) -> tuple[Tensor, Tensor]:
    x = torch.randn(N, 3, generator=torch.Generator().manual_seed(0)).double()
    if takes_labels(likelihood):
        return x, (x[:, 0] > 0).long() + (x[:, 1] > 0.5)
    return x, as_targets(likelihood, x @ torch.tensor([[1.0], [-1.0], [0.5]]).double())


def build(method: str, meaning: Likelihood, dropout: bool, **options: Any) -> UncertainModel:
    outputs = meaning.width(3 if takes_labels(meaning) else 1)

    def network() -> nn.Module:
        drop = nn.Dropout(0.3) if dropout else nn.Identity()
        return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), drop, nn.Linear(8, outputs)).double()

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return METHODS[method].from_factory(network, meaning, **options).double()


def own_loop(
    model: UncertainModel, parts: list[UncertainModel], batch_size: int, lr: float
) -> None:
    """Train as the documents say: each of the parts by its loss, with all hooks."""
    x, y = data(model.likelihood)
    told = {"epochs": EPOCHS, "examples": N}
    batches = TensorData(x, y, batch_size).in_order
    model.on_fit_start(FitState(batches=batches, **told))
    for member, part in enumerate(parts):
        optimizer = torch.optim.SGD(part.parameters(), lr)
        for epoch in range(EPOCHS):
            seed, step = epoch_seed(0, member, epoch + 1), 0
            with seeded(seed, []):
                state = FitState(epoch=epoch, **told)
                part.train()
                part.on_epoch_start(state)
                for rows in TensorData(x, y, batch_size).order(seed).split(batch_size):
                    optimizer.zero_grad()
                    part.loss(x[rows], y[rows]).backward()
                    optimizer.step()
                    step += 1
                    part.on_step_end(FitState(epoch=epoch, step=step, **told))
                part.on_epoch_end(state)
    model.eval()
    model.on_fit_end(FitState(batches=batches, **told))


def assert_alike(one: UncertainModel, other: UncertainModel) -> None:
    states = [model.state_dict() for model in (one, other)]
    torch.testing.assert_close(*states, rtol=1e-6, atol=1e-9)


def fitted(model: UncertainModel, batch_size: int, lr: float) -> UncertainModel:
    duda.fit(
        model,
        data(model.likelihood),
        epochs=EPOCHS,
        batch_size=batch_size,
        lr=lr,
        optimizer=torch.optim.SGD,
        seed=0,
    )
    return model


@pytest.mark.parametrize("batch_size", [8, N])
@pytest.mark.parametrize(("method", "likelihood"), PAIRS)
def test_a_loop_over_what_trains_by_itself(method: str, likelihood: str, batch_size: int) -> None:
    meaning = LIKELIHOODS[likelihood]()
    expected = fitted(build(method, meaning, dropout=True), batch_size, lr=0.05)
    model = build(method, meaning, dropout=True)
    own_loop(model, model.independent(), batch_size, lr=0.05)
    assert_alike(model, expected)


@pytest.mark.parametrize("batch_size", [8, N])
@pytest.mark.parametrize(("method", "likelihood"), PAIRS)
def test_a_loop_over_the_model(method: str, likelihood: str, batch_size: int) -> None:
    meaning = LIKELIHOODS[likelihood]()
    # Trunk and heads learn from all losses at once here, which `fit` does if they are joint.
    options = {"joint": True} if method == "sub-ensemble" else {}
    several = len(build(method, meaning, dropout=False).independent()) > 1
    if several and not options:
        batch_size = N  # each member has an order of its own, which then does not matter
    if several and likelihood == "sampled-softmax":
        pytest.skip("its loss draws noise, which members that train in turn draw in turn")
    expected = fitted(build(method, meaning, not several, **options), batch_size, lr=0.05)
    model = build(method, meaning, not several, **options)
    own_loop(model, [model], batch_size, lr=0.05)
    assert_alike(model, expected)


def test_each_member_gets_the_gradient_of_its_own() -> None:
    meaning = duda.Categorical()
    x, y = data(meaning)
    model = build("deep-ensemble", meaning, dropout=False)
    model.loss(x, y).backward()
    for part in model.independent():
        expected = torch.autograd.grad(part.loss(x, y), list(part.parameters()))
        found = [weight.grad for weight in part.parameters()]
        torch.testing.assert_close(found, list(expected))
    assert torch.equal(model.loss(x, y), model.loss(x, y))
