"""Members of a sub-ensemble are plain networks with one trunk, which runs and trains once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import duda
from duda.sampling import StackedMembers
from tests.sampling.networks import Counter
from tests.training.models import regression, same, values
from tests.training.test_checkpoint import cut_off_each_epoch

ROWS = 6


class Residual(nn.Module):
    """Modules, functions and weights of its own, some in place, as people write networks."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4, 1, 1))
        self.register_buffer("offset", torch.full((4, 1, 1), 0.1))
        self.counter = Counter()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.block = nn.Sequential(
            nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        )
        self.middle = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.stem(self.counter(x)) * self.scale + self.offset, inplace=True)
        h = self.block(h) + h
        h = 2 * F.relu(self.norm(self.middle(h)), inplace=True)
        h += 1
        return self.head(h.mean((2, 3)))


def mlp() -> nn.Module:
    return nn.Sequential(
        Counter(),
        nn.Linear(3, 8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(8, 2),
    )


def deep_heads() -> nn.Module:
    """Return a network whose last three layers can be heads, with all that training changes."""
    return nn.Sequential(
        nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3)),
        nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2)),
    )


def build(factory: Callable[[], nn.Module] = Residual, **arguments: Any) -> duda.SubEnsemble:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return duda.SubEnsemble(factory, duda.Categorical(), **arguments)


def images(rows: int = ROWS) -> Tensor:
    return torch.randn(rows, 1, 6, 6)


def shared_names(model: duda.SubEnsemble) -> set[str]:
    one, other = (dict(member.named_parameters()) for member in model.members[:2])
    return {name for name in one if one[name] is other[name]}


SHARED = {
    "by default": (None, {"scale", "stem", "block"}),
    "a module": ("block", {"block"}),
    "some": (["stem", "scale", "block"], {"scale", "stem", "block"}),
    "a pattern": ("s*", {"scale", "stem"}),
    "inside": ("block.*", {"block"}),
    "a weight": ("stem.weight", {"stem.weight"}),
}


@pytest.mark.parametrize("case", SHARED)
def test_members_share_what_is_named_and_are_networks_by_themselves(case: str) -> None:
    shared, expected = SHARED[case]
    model = build(shared=shared, members=3)
    names = {n for n in shared_names(model) if n != "stem.bias" or "stem" in expected}
    assert {n if n in expected else n.split(".")[0] for n in names} == expected
    x = images()
    answer = model.predict(x, keep_draws=True)
    torch.testing.assert_close(
        answer.probs, duda.DeepEnsemble(list(model.members), duda.Categorical()).predict(x).probs
    )
    for k in (1, 2):
        alone = duda.DeepEnsemble(list(model.members[:k]), duda.Categorical())
        torch.testing.assert_close(model.predict(x, members=k).probs, alone.predict(x).probs)


def test_an_ensemble_of_one_is_its_member() -> None:
    model, x = build(members=1), images()
    plain = duda.Deterministic(model.members[0], duda.Categorical())
    assert torch.equal(model.predict(x).probs, plain.predict(x).probs)


def test_the_trunk_runs_once_in_a_prediction() -> None:
    model = build(members=4)
    model.predict(images(10), batch_size=4)
    assert model.members[0].counter.rows == [4, 4, 2]


class Calls(torch.overrides.TorchFunctionMode):
    """Counts calls of convolutions and of functions between modules."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.append(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {}))


def calls_of(model: duda.SubEnsemble, at_once: bool) -> list[str]:
    """Return the names of what a prediction calls, not the first, with the heads stacked or not."""
    for member in model.members:
        member.counter = nn.Identity()  # what counts, counts each member, and is not stacked
    with nullcontext() if at_once else patch.object(StackedMembers, "_fitting", lambda *_: 1):
        model.predict(images())
        with Calls() as calls:
            model.predict(images())
    return calls.names


@pytest.mark.parametrize("at_once", [True, False])
def test_functions_between_shared_modules_run_once_too(at_once: bool) -> None:
    model = build(members=5, shared=["scale", "offset", "stem", "block", "middle", "norm"])
    names = calls_of(model, at_once)
    assert names.count("conv2d") == 3
    # In turn, the two that write to what a module returned do so for each member.
    assert names.count("relu") == (3 if at_once else 1 + 2 * 5)
    assert names.count("linear") == (1 if at_once else 5)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_head_that_starts_early_has_its_own_copy_of_what_follows(at_once: bool) -> None:
    model = build(shared=["stem", "scale"], members=3)
    assert calls_of(model, at_once).count("conv2d") == 1 + 2 * (1 if at_once else 3)


def test_moves_copies_and_files_keep_the_trunk_in_one_piece(tmp_path: Path) -> None:
    model = build(members=3).double()
    assert model.members[0].offset is model.members[2].offset
    assert shared_names(model) == {
        n
        for n, _ in model.members[0].named_parameters()
        if n.split(".")[0] in {"scale", "stem", "block"}
    }
    assert shared_names(copy.deepcopy(model)) == shared_names(model)
    other = duda.SubEnsemble(Residual, duda.Categorical(), members=3).double()
    torch.save(model.state_dict(), tmp_path / "weights")
    other.load_state_dict(torch.load(tmp_path / "weights", weights_only=True))
    x = images().double()
    assert torch.equal(other.predict(x).probs, model.predict(x).probs)


def test_the_trunk_trains_with_the_first_head_as_a_plain_network_does() -> None:
    model = build(mlp, members=3)
    x, y = regression(20)[0], torch.arange(20) % 2
    plain = duda.Deterministic(copy.deepcopy(model.members[0]), duda.Categorical())
    others = [values(member[-1]) for member in model.members[1:]]
    arguments: dict[str, Any] = {"epochs": 2, "batch_size": 8, "seed": 3, "lr": 0.05}
    history = duda.fit(model, (x, y), **arguments)
    duda.fit(plain, (x, y), **arguments)
    assert same(values(model.members[0]), values(plain.network))  # and not changed by the others
    assert history.losses.shape == (2, 2)
    # After a look at two examples, in each epoch once for all heads.
    assert model.members[0][0].rows == [2] + [8, 8, 4] * 4
    for member, before in zip(model.members[1:], others, strict=True):
        assert not torch.equal(member[-1].weight, before["weight"])


def test_a_head_trains_as_if_it_were_alone() -> None:
    def trained(members: int) -> nn.Module:
        model = build(lambda: mlp().double(), members=members)
        x, y = regression(20, torch.float64)[0], torch.arange(20) % 2
        duda.fit(model, (x, y), epochs=3, batch_size=8, seed=3, lr=0.05)
        return model.members[1]

    torch.testing.assert_close(values(trained(2)), values(trained(4)), rtol=0, atol=1e-12)


def test_heads_get_their_own_gradients_on_a_trunk_that_is_still() -> None:
    model = build(deep_heads, shared="0", members=3).double()
    x, y = regression(20, torch.float64)[0], torch.arange(20) % 2
    model.members[2][1][2].p = model.members[1][1][2].p = 0.0
    part = model.independent()[1].train()
    expected = []
    for member in model.members[1:]:
        member = copy.deepcopy(member).train()
        member[0].eval()
        F.cross_entropy(member[1](member[0](x).detach()), y).backward()
        expected.append([weight.grad for weight in member[1].parameters()])
    part.loss(x, y).backward()
    for member, grads in zip(model.members[1:], expected, strict=True):
        torch.testing.assert_close([weight.grad for weight in member[1].parameters()], grads)
    assert all(weight.grad is None for weight in model.members[0].parameters())
    assert all(weight.requires_grad for weight in model.parameters())
    assert {id(w) for w in part.parameters()} == {
        id(w) for member in model.members[1:] for w in member[1].parameters()
    }
    assert len(list(part.buffers())) == 6


def test_each_head_drops_by_itself() -> None:
    """Dropout of the trunk is off while heads train; that of the heads is on, and not shared."""
    model = build(deep_heads, shared="0", members=3)
    for member in model.members[2:]:
        member[1].load_state_dict(model.members[1][1].state_dict())
    part, x = model.independent()[1].train(), regression(20)[0]
    features = []
    for member in model.members[1:]:
        member[1].register_forward_pre_hook(lambda _, args: features.append(args[0]))
    seen = []
    for member in model.members[1:]:
        member[1][2].register_forward_hook(lambda _, args, out: seen.append(out == 0))
    part.loss(x, torch.arange(20) % 2)
    part.loss(x, torch.arange(20) % 2)
    assert all(torch.equal(each, features[0]) for each in features)
    assert len(seen) == 4
    assert not any(torch.equal(seen[i], seen[j]) for i in range(4) for j in range(i))
    assert all(module.training for module in part.networks.modules())


@pytest.mark.parametrize("patience", [None, 2])
@pytest.mark.parametrize("joint", [False, True])
def test_training_goes_on_from_every_epoch(
    joint: bool, patience: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make() -> duda.SubEnsemble:
        return build(deep_heads, shared="0", members=3, joint=joint)

    def data(rows: int) -> tuple[Tensor, Tensor]:
        return regression(rows)[0], torch.arange(rows) % 2

    arguments: dict[str, Any] = {
        "epochs": 4,
        "batch_size": 16,
        "seed": 4,
        "validation": patience and data(20),
        "patience": patience,
    }
    whole = make()
    expected = duda.fit(whole, data(50), **arguments)
    found, history, attempts = cut_off_each_epoch(
        make, tmp_path / "run", monkeypatch, lambda: data(50), **arguments
    )
    assert attempts > 3
    assert same(values(found), values(whole))
    assert torch.equal(history.losses.nan_to_num(9.0), expected.losses.nan_to_num(9.0))


def test_joint_training_is_the_sum_of_the_members_losses_with_one_pass_of_the_trunk() -> None:
    model = build(members=3, joint=True).double().train()
    x, y = images().double(), torch.arange(ROWS) % 3
    alone = copy.deepcopy(model)
    trunk = copy.deepcopy(model.members[0]).train()
    assert model.independent() == [model]
    loss = model.loss(x, y)
    loss.backward()
    expected = sum(F.cross_entropy(member(x), y) for member in alone.members)
    expected.backward()
    torch.testing.assert_close(loss, expected)
    for one, other in zip(model.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    assert model.members[0].counter.rows == [ROWS]
    trunk(x)
    for name, buffer in trunk.named_buffers():  # statistics of one pass, and one counted
        torch.testing.assert_close(model.members[0].get_buffer(name), buffer)


def test_a_trained_network_stays_as_it_is() -> None:
    network = deep_heads()
    network[0].requires_grad_(False)
    before = values(network)
    model = build(deep_heads, shared="0", members=3, trained=network)
    second = values(model.members[1][1])
    history = duda.fit(model, (regression(20)[0], torch.arange(20) % 2), epochs=2, seed=0)
    assert history.losses.shape == (1, 2)
    assert model.members[0] is network
    assert same(values(network), before)
    assert not any(weight.requires_grad for weight in network[0].parameters())
    assert not same(values(model.members[1][1]), second)


class Tied(nn.Module):
    """An embedding whose weight is that of the last layer too, as in language models."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.adapter = nn.Linear(4, 4)
        self.last = nn.Linear(4, 5)
        self.last.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.adapter(self.embedding(x)).mean(1))


def test_a_weight_with_two_names_is_shared_under_both() -> None:
    model = build(Tied, shared="embedding", members=2)
    first, other = model.members
    assert first.last.weight is other.last.weight is other.embedding.weight
    assert first.last.bias is not other.last.bias
    assert model.predict(torch.tensor([[0, 1], [2, 3]])).probs.shape == (2, 5)


BAD = {
    "nothing": ({"shared": "nose"}, "`shared` names 'nose', which fits nothing.*'stem'"),
    "no weights": ({"shared": "counter"}, "'counter', which has no weights in it"),
    "no names": ({"shared": []}, r"\[\], which has no weights in it"),
    "everything": ({"shared": "*"}, "which is all of the network"),
    "no heads": ({"members": 0}, "`members` is 0"),
    "no other head": ({"members": 1, "trained": nn.Linear(2, 2)}, "expected at least 2"),
    "joint": ({"trained": nn.Linear(2, 2), "joint": True}, "give only one of the two"),
    "another": ({"trained": nn.Linear(2, 2), "shared": "weight"}, "without 'weight'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_trunks(case: str) -> None:
    arguments, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        build(**arguments)


def test_one_layer_is_no_trunk_and_a_network_no_factory() -> None:
    with pytest.raises(ValueError, match="`shared` is None, which has no weights"):
        build(lambda: nn.Linear(2, 3))
    with pytest.raises(TypeError, match="`factory` is one network"):
        build(nn.Linear(2, 3))
    with pytest.raises(ValueError, match="the ensemble has 5"):
        build().predict(images(), members=6)


class Functional(nn.Module):
    """Drops units of its head by a function, and registers the head first."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.hidden = nn.Linear(8, 3), nn.Linear(8, 8)
        self.trunk = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
        self.seen: list[tuple[bool, Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.hidden(self.trunk(x)))
        dropped = F.dropout(h, 0.5, self.training)
        self.seen.append((self.training, dropped == 0))
        return self.head(dropped)


@pytest.mark.parametrize("shared", ["trunk", ["trunk.0", "trunk.1"], None])
def test_functional_dropout_of_heads_stays_on_while_they_train(shared: Any) -> None:
    model, x = build(Functional, shared=shared, members=3), regression(64)[0]
    trunk = copy.deepcopy(values(model.members[0].trunk))
    part = model.independent()[1].train()
    before = [len(member.seen) for member in model.members]
    part.loss(x, torch.arange(64) % 3).backward()
    for member, start in zip(model.members[1:], before[1:], strict=True):
        assert all(
            training and zeros.float().mean() > 0.6 for training, zeros in member.seen[start:]
        )
        assert len(member.seen) == start + 1
    assert same(values(model.members[0].trunk), trunk)
    model.predict(x)
    assert not model.members[2].seen[-1][0]


def test_the_default_trunk_is_what_is_called_before_the_heads() -> None:
    names = shared_names(build(Functional, members=2))
    assert names == {"trunk.0.weight", "trunk.0.bias", "trunk.1.weight", "trunk.1.bias"}
