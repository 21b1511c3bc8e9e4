"""Losses are read for many steps at once, and what is wrong with one is told as if each were."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import duda
from duda.hooks import FitState
from duda.likelihoods import Likelihood
from duda.training import epoch_losses

WRONG = 10  # the batch in which something goes wrong


class Watched(duda.Deterministic):
    """Notes its weights before each step, and does something to the loss of a batch."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)), duda.Categorical())
        self.change, self.before = change, list[Tensor]()

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        self.before.append(self.network[0].weight.detach().clone())
        found = super().loss(x, y)
        return self.change(found) if len(self.before) == WRONG else found


def data() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(80, 4, generator=generator), torch.arange(80) % 3


def spoil(loss: Tensor) -> Tensor:
    return loss * math.nan


def fit(model: duda.UncertainModel, given: Any = None, **arguments: Any) -> duda.History:
    arguments = {"epochs": 1, "batch_size": 4, "seed": 0} | arguments
    return duda.fit(model, data() if given is None else given, **arguments)


def now(model: Watched) -> Tensor:
    return model.network[0].weight.detach()


def test_ruined_weights_are_put_back_as_they_were_at_the_last_look() -> None:
    model = Watched(spoil)
    said = rf"loss is nan in epoch 1, batch {WRONG} of member 1 .* left as before batch 2\."
    with pytest.raises(FloatingPointError, match=said):
        fit(model)
    assert len(model.before) == 20  # nobody has looked meanwhile
    assert now(model).equal(model.before[1])
    assert all(bool(value.isfinite().all()) for value in model.state_dict().values())


@pytest.mark.parametrize("way", ["each step", "steps", "seconds"])
def test_a_look_before_the_step_leaves_the_weights_before_that_batch(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Listener:
        def on_step_end(self, state: FitState) -> None:
            assert math.isfinite(state.loss)

    if way != "each step":
        name, value = ("_STEPS", WRONG - 1) if way == "steps" else ("_SECONDS", -1.0)
        monkeypatch.setattr(epoch_losses, name, value)
    model, said = Watched(spoil), rf"batch {WRONG} of .* left as before (that batch|batch 2)\."
    with pytest.raises(FloatingPointError, match=said):
        fit(model, callbacks=[Listener()] if way == "each step" else [])
    assert len(model.before) == WRONG
    assert now(model).equal(model.before[1 if way == "steps" else WRONG - 1])


def test_a_loss_that_is_not_finite_in_the_first_step_is_told_at_once() -> None:
    model = Watched(spoil)
    model.before = [torch.empty(0)] * (WRONG - 1)  # so that the first is the wrong one
    with pytest.raises(FloatingPointError, match=r"batch 1 of .* as before that batch\."):
        fit(model)
    assert len(model.before) == WRONG


def test_an_error_that_follows_from_ruined_weights_is_told_with_its_reason() -> None:
    class Strict(Watched):
        def forward(self, x: Tensor) -> Tensor:
            if not bool(self.network[0].weight.isfinite().all()):
                raise AssertionError("weights are NaN")
            return super().forward(x)

    model = Strict(spoil)
    with pytest.raises(FloatingPointError, match=f"batch {WRONG} of member 1") as told:
        fit(model)
    assert isinstance(told.value.__cause__, AssertionError)
    assert now(model).equal(model.before[1])


def test_an_interrupt_leaves_no_ruined_weights() -> None:
    class Interrupted(Watched):
        def loss(self, x: Tensor, y: Tensor) -> Tensor:
            if len(self.before) == WRONG + 2:
                raise KeyboardInterrupt
            return super().loss(x, y)

    ruined, fine = Interrupted(spoil), Interrupted(lambda loss: loss)
    for model in (ruined, fine):
        with pytest.raises(KeyboardInterrupt):
            fit(model)
    assert now(ruined).equal(ruined.before[1])
    assert not now(fine).equal(fine.before[-1])  # with the steps that were made


@pytest.mark.parametrize("member", [0, 1])
def test_members_that_train_as_one_are_put_back_too(member: int) -> None:
    torch.manual_seed(0)
    model = duda.DeepEnsemble(lambda: nn.Linear(4, 3), duda.Categorical(), members=2)
    with torch.no_grad():
        model.members[member].weight.fill_(3e38)  # whose outputs overflow, with luck not at first
    before = [each.weight.detach().clone() for each in model.members]
    with pytest.raises(FloatingPointError, match=rf"member {member + 1} .* left as before"):
        fit(model, vectorize=True)
    weights = torch.stack([each.weight.detach() for each in model.members])
    assert bool(weights.isfinite().all())
    assert weights[member].equal(before[member])


def spoiled(place: int, number: float) -> DataLoader[Any]:
    x, y = data()
    x[place, 1] = number
    return DataLoader(TensorDataset(x, y), 4)


def test_inputs_of_a_later_batch_that_are_not_finite_are_told() -> None:
    model = Watched(lambda loss: loss)
    said = rf"`x of batch {WRONG} of data` has 1 NaN and 0 infinite values, .* \[2, 1\]"
    with pytest.raises(ValueError, match=said):
        fit(model, spoiled(4 * WRONG - 2, math.nan))
    assert now(model).equal(model.before[1])


@pytest.mark.parametrize(
    "likelihood", [duda.Categorical(), duda.Dirichlet(), duda.SampledSoftmax(5)]
)
def test_labels_of_a_later_batch_that_are_none_are_told(likelihood: Likelihood) -> None:
    x, y = data()
    y[4 * WRONG - 2] = 7
    model = duda.Deterministic(nn.Linear(4, likelihood.width(3)), likelihood)
    with pytest.raises(ValueError, match="`y` holds the label 7, expected 0 to 2"):
        fit(model, DataLoader(TensorDataset(x, y), 4))
    assert all(bool(weight.isfinite().all()) for weight in model.parameters())


def test_a_softmax_at_the_end_of_a_network_is_told_in_the_first_step() -> None:
    model = duda.Deterministic(nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)), duda.Categorical())
    before = model.network[0].weight.detach().clone()
    with pytest.raises(ValueError, match="as after a softmax"):
        fit(model, DataLoader(TensorDataset(*data()), 8))
    assert model.network[0].weight.equal(before)


def test_means_are_those_of_losses_that_are_read_one_by_one() -> None:
    heard: list[float] = []

    class Listener:
        def on_step_end(self, state: FitState) -> None:
            heard.append(state.loss)

    model = Watched(lambda loss: loss)
    twin = Watched(lambda loss: loss)
    twin.load_state_dict(model.state_dict())
    told, alone = fit(model, callbacks=[Listener()]), fit(twin)
    assert told.losses.equal(alone.losses)
    assert now(model).equal(now(twin))
    assert float(alone.losses[0, 0]) == pytest.approx(sum(heard) / len(heard), rel=1e-6)
