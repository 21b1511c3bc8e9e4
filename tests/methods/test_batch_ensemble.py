"""A member of a BatchEnsemble is the network with weights W ∘ s rᵀ."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

import duda
from tests.sampling.networks import Counter
from tests.training.models import regression

MEMBERS, ROWS = 4, 7


class LastStep(nn.Module):
    """A linear layer in front of an LSTM, which vmap cannot run."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.lstm = nn.Linear(4, 6), nn.LSTM(6, 5, 2, batch_first=True)
        self.last = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.lstm(self.first(x))[0][:, -1])


def pooled(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 3))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(4, 3), (4,)),
    "without bias": (
        lambda: nn.Sequential(nn.Linear(4, 6, bias=False), nn.Tanh(), nn.Linear(6, 3)),
        (4,),
    ),
    "on sequences": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Flatten(), nn.Linear(30, 3)),
        (5, 4),
    ),
    "conv": (lambda: pooled(nn.Conv2d(4, 6, 3, 2, padding=1), nn.ReLU(inplace=True)), (4, 8, 8)),
    "groups": (lambda: pooled(nn.Conv2d(4, 6, 3, groups=2), nn.Conv2d(6, 6, 1)), (4, 8, 8)),
    "reflect": (
        lambda: pooled(nn.Conv2d(4, 6, 3, padding=2, padding_mode="reflect", dilation=2)),
        (4, 8, 8),
    ),
    "same": (lambda: pooled(nn.Conv2d(4, 6, 3, padding="same", bias=False)), (4, 8, 8)),
    "transposed": (lambda: pooled(nn.ConvTranspose2d(4, 6, 3, stride=2)), (4, 5, 5)),
    "conv1d": (lambda: nn.Sequential(nn.Conv1d(4, 3, 5), nn.Flatten()), (4, 5)),
    "conv3d": (lambda: nn.Sequential(nn.Conv3d(4, 3, 3), nn.Flatten()), (4, 3, 3, 3)),
    "in a loop": (LastStep, (5, 4)),
}


def build(case: str, members: int = MEMBERS) -> duda.BatchEnsemble:
    """Return a model in float64 whose vectors are not only signs."""
    model = duda.BatchEnsemble(NETWORKS[case][0](), duda.Categorical(), members).double()
    with torch.no_grad():
        for weight in model.vectors.parameters():
            weight.copy_(torch.randn_like(weight))
    return model


def inputs(case: str, rows: int = ROWS) -> Tensor:
    return torch.randn(rows, *NETWORKS[case][1], dtype=torch.float64)


def by_hand(model: duda.BatchEnsemble, x: Tensor, member: int) -> Tensor:
    """Return the outputs of a member by its explicit weights."""
    weights: dict[str, Tensor] = {}
    layers = [
        (name, layer)
        for name, layer in model.network.named_modules()
        if hasattr(layer, "weight") and not isinstance(layer, nn.RNNBase)
    ]
    for (name, layer), vectors in zip(layers, model.vectors, strict=True):
        start = f"{name}." if name else ""
        r, s = vectors.r[member], vectors.s[member]
        weight = layer.weight
        if isinstance(layer, nn.ConvTranspose2d):
            outer = r[:, None] * s[None, :]
        else:
            # The input channels that an output channel of a group sees.
            groups = getattr(layer, "groups", 1)
            seen = r.view(groups, -1).repeat_interleave(len(s) // groups, 0)
            outer = s[:, None] * seen
        weights[f"{start}weight"] = weight * outer.reshape(*outer.shape, *[1] * (weight.ndim - 2))
        if layer.bias is not None:
            weights[f"{start}bias"] = layer.bias + vectors.bias[member]
    return functional_call(model.network, weights, (x,))


@pytest.mark.parametrize("chunk", [None, 1, 3])
@pytest.mark.parametrize("case", NETWORKS)
def test_members_are_networks_with_rank_one_weights(case: str, chunk: int | None) -> None:
    model, x = build(case), inputs(case)
    with torch.no_grad():
        expected = torch.stack([by_hand(model, x, i) for i in range(MEMBERS)])
        for vmapped in (True, False):
            found = torch.cat(
                list(
                    duda.sampling.random_draws(
                        model.network, x, MEMBERS, chunk, model._weights, seed=0, vmapped=vmapped
                    )
                )
            )
            torch.testing.assert_close(found, expected)
    torch.testing.assert_close(model.predict(x, chunk=chunk).probs, expected.softmax(2).mean(0))
    torch.testing.assert_close(model.predict(x, members=2).probs, expected[:2].softmax(2).mean(0))


@pytest.mark.parametrize("case", NETWORKS)
def test_the_loss_is_the_mean_over_members_and_examples(case: str) -> None:
    model, x, y = build(case), inputs(case), torch.arange(ROWS) % 3
    other = copy.deepcopy(model)
    loss = model.loss(x, y)
    expected = sum(F.cross_entropy(by_hand(other, x, i), y) for i in range(MEMBERS)) / MEMBERS
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad)


def test_at_the_start_there_are_signs_and_no_bias() -> None:
    model = duda.BatchEnsemble(nn.Linear(50, 60), duda.Categorical(), 3)
    [vectors] = model.vectors
    for signs in (vectors.r, vectors.s):
        assert set(signs.unique().tolist()) == {-1.0, 1.0}
        assert signs.sum().abs() <= 5 * signs.numel() ** 0.5
    assert not vectors.bias.any()


def test_vectors_of_ones_give_the_plain_network() -> None:
    model, x = build("conv", members=1), inputs("conv")
    with torch.no_grad():
        for vectors in model.vectors:
            vectors.r.fill_(1), vectors.s.fill_(1), vectors.bias.zero_()
    plain = duda.Deterministic(model.network, duda.Categorical()).predict(x)
    torch.testing.assert_close(model.predict(x).probs, plain.probs)


def test_what_comes_before_the_first_chosen_layer_runs_once() -> None:
    net = nn.Sequential(nn.Linear(4, 4), Counter(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    model = duda.BatchEnsemble(net, duda.Categorical(), layers=["2", "4"])
    for chunk in (None, 1, 3):
        net[1].rows.clear()
        model.predict(torch.randn(ROWS, 4), chunk=chunk)
        assert net[1].rows == [ROWS]
    assert [tuple(vectors.r.shape) for vectors in model.vectors] == [(4, 4), (4, 4)]


def test_batch_norm_sees_all_members() -> None:
    net = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5, momentum=1.0), nn.Linear(5, 3))
    model, x = duda.BatchEnsemble(net, duda.Categorical()), torch.randn(ROWS, 4)
    hidden = []
    net[1].register_forward_pre_hook(lambda _, args: hidden.append(args[0]))
    model.loss(x, torch.arange(ROWS) % 3)
    assert hidden[0].shape == (4 * ROWS, 5)
    torch.testing.assert_close(net[1].running_mean, hidden[0].mean(0))


def test_the_network_is_as_it_was_and_training_moves_members_apart() -> None:
    x, y = regression(64)[0], torch.arange(64) % 2
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
    model, before = duda.BatchEnsemble(net, duda.Categorical()), copy.deepcopy(net.state_dict())
    model.predict(x)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    history = duda.fit(model, (x, y), epochs=20, lr=0.01, seed=0)
    assert history.losses[0, -1] < history.losses[0, 0]
    assert (model.predict(x).epistemic > 0).all()


class TwoUses(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.layer(x), weight=self.layer.weight.t())


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 4), nn.Linear(4, 4)
        self.last.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x))


def test_a_weight_of_two_layers_has_one_pair_of_vectors() -> None:
    model = duda.BatchEnsemble(Tied(), duda.Categorical())
    assert len(model.vectors) == 1
    model.loss(torch.randn(ROWS, 4), torch.arange(ROWS) % 4).backward()
    assert all(weight.grad is not None for weight in model.parameters())


def lstm() -> nn.Module:
    return nn.Sequential(nn.Embedding(5, 4), nn.LSTM(4, 3, 2))


BAD = {
    "no layer": (lambda: duda.BatchEnsemble(lstm(), duda.Categorical()), "'0' .Embedding., '1' .L"),
    "no such layer": (
        lambda: duda.BatchEnsemble(LastStep(), duda.Categorical(), layers=["first", "lstm"]),
        "cannot use 'lstm' .LSTM.: expected linear",
    ),
    "no members": (lambda: duda.BatchEnsemble(Tied(), duda.Categorical(), 0), "`members` is 0"),
    "too many": (
        lambda: duda.BatchEnsemble(Tied(), duda.Categorical()).predict(torch.ones(2, 4), members=5),
        "`members` is 5, but the ensemble has 4",
    ),
    "another use": (
        lambda: duda.BatchEnsemble(TwoUses(), duda.Categorical()).predict(torch.ones(2, 4)),
        "the network uses 'layer.weight' in t, expected only",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_is_told(case: str) -> None:
    call, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        call()


def test_examples_that_are_not_on_dimension_0_are_told() -> None:
    """Steps of a sequence first, as recurrent and attention layers take them by default."""
    net = nn.Sequential(nn.Flatten(0, 1), nn.Linear(4, 3))
    with pytest.raises(ValueError, match=r"takes an input of shape \(60, 4\), expected the 12"):
        duda.BatchEnsemble(net, duda.Categorical()).loss(torch.ones(3, 5, 4), torch.ones(3))
