"""Members as one come out as in turn, run as one where they can, and follow every change."""

from __future__ import annotations

import copy
import gc
import pickle
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import duda
from benchmarks.calls import Calls
from duda.sampling import stacked
from duda.sampling.stacked import StackedMembers, each_in_turn, form_of

MEMBERS = 5


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3))


def cnn() -> nn.Module:
    norm = nn.BatchNorm2d(6)
    nn.init.normal_(norm.running_mean)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        norm,
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 3),
    )


class Attending(nn.Module):
    """Attention by torch's layer, by a block of layers, or by its function."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.first, self.last = kind, nn.Linear(4, 8), nn.Linear(8, 3)
        if kind == "layer":
            self.inner: nn.Module = nn.MultiheadAttention(8, 2, batch_first=True)
        elif kind == "block":
            self.inner = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        if self.kind == "layer":
            h = self.inner(h, h, h, need_weights=False)[0]
        elif self.kind == "block":
            h = self.inner(h)
        else:
            q = h.unflatten(-1, (2, 4)).transpose(1, 2)
            h = F.scaled_dot_product_attention(q, q, q).transpose(1, 2).flatten(2)
        return self.last(h.mean(1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = nn.LSTM(4, 8, num_layers=2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.inner(x)[0][:, -1])


class Words(nn.Module):
    """An embedding whose weight is that of the last layer too; inputs have names."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.last = nn.Embedding(7, 5), nn.Linear(5, 7, bias=False)
        self.last.weight = self.embed.weight

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return self.last((self.embed(tokens) * mask[..., None]).mean(1))


class With(nn.Module):
    """A linear layer, and something done beside it."""

    def __init__(self, beside: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.linear, self.calls = nn.Linear(4, 3), 0
        self.register_buffer("total", torch.zeros(3))
        self.beside = beside

    def forward(self, x: Tensor) -> Tensor:
        return self.beside(self, self.linear(x))


def by_numbers(_: nn.Module, h: Tensor) -> Tensor:
    return h if h.sum() > 0 else -h


def noisy(_: nn.Module, h: Tensor) -> Tensor:
    return h + torch.randn_like(h)


def python_noise(_: nn.Module, h: Tensor) -> Tensor:
    return h + 0.0 * random.random()


def counting(module: nn.Module, h: Tensor) -> Tensor:
    module.calls += 1
    return h


def storing(module: nn.Module, h: Tensor) -> Tensor:
    module.seen = h
    return h


def adding(module: nn.Module, h: Tensor) -> Tensor:
    module.total += 1
    return h + module.total


def replacing(module: nn.Module, h: Tensor) -> Tensor:
    module.total = module.total + h.mean(0)
    return h


TABLE, SEQUENCE = torch.randn(6, 4), torch.randn(6, 5, 4)
TOKENS = {"tokens": torch.randint(7, (6, 3)), "mask": torch.rand(6, 3)}

AS_ONE = {
    "mlp": (mlp, TABLE),
    "cnn": (cnn, torch.randn(6, 2, 4, 4)),
    "attention": (partial(Attending, "function"), SEQUENCE),
    "attention layer": (partial(Attending, "layer"), SEQUENCE),
    "attention block": (partial(Attending, "block"), SEQUENCE),
    "words": (Words, TOKENS),
    "norm": (lambda: nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 3)), TABLE),
    "double": (lambda: mlp().double(), TABLE.double()),
    "half": (lambda: mlp().bfloat16(), TABLE.bfloat16()),
}
IN_TURN = {
    "recurrent": (Recurrent, SEQUENCE),
    **{
        each.__name__: (partial(With, each), TABLE)
        for each in (by_numbers, noisy, python_noise, counting, storing, adding, replacing)
    },
}


def networks_of(make: Callable[[], nn.Module], count: int = MEMBERS) -> list[nn.Module]:
    return [make().eval() for _ in range(count)]


def as_one(networks: list[nn.Module]) -> StackedMembers:
    """Return members that run as one wherever they can, also on a CPU."""
    return StackedMembers(networks, partial(each_in_turn, networks))


def outputs(members: StackedMembers, x: object, chunk: int | None = None) -> Tensor:
    with torch.no_grad():
        return torch.cat([*members.draws(x, chunk)])


def in_turn(networks: list[nn.Module], x: object) -> Tensor:
    with torch.no_grad():
        return torch.stack([duda.sampling.raw_outputs(network, x) for network in networks])


def count(calls: Calls, *names: str) -> int:
    return sum(each in names for each in calls.names)


def runs_as_one(networks: list[nn.Module], x: object) -> bool:
    """Return whether the second batch of a kind calls no member by itself."""
    members = as_one(networks)
    outputs(members, x)
    with patch.object(members, "in_turn", wraps=members.in_turn) as called:
        outputs(members, x)
    return not called.called


@pytest.mark.parametrize("name", [*AS_ONE, *IN_TURN])
def test_all_come_out_as_in_turn(name: str) -> None:
    make, x = (AS_ONE | IN_TURN)[name]
    networks = networks_of(make)
    before = copy.deepcopy(networks)
    members = as_one(networks)
    for chunk in (None, None, 2, 1):
        if name in ("noisy", "adding", "replacing"):
            continue
        tolerance = 0.05 if name == "half" else 1e-5
        expected = in_turn(copy.deepcopy(before), x)
        torch.testing.assert_close(
            outputs(members, x, chunk), expected, rtol=tolerance, atol=tolerance
        )
    for one, other in zip(networks, before, strict=True):
        for key, value in other.state_dict().items():
            assert torch.equal(one.state_dict()[key], value)


@pytest.mark.parametrize("name", AS_ONE)
def test_members_of_one_form_run_as_one(name: str) -> None:
    make, x = AS_ONE[name]
    assert runs_as_one(networks_of(make), x)


@pytest.mark.parametrize("name", IN_TURN)
def test_what_vmap_would_change_runs_in_turn(name: str) -> None:
    make, x = IN_TURN[name]
    assert not runs_as_one(networks_of(make), x)


def weightless(net: nn.Module, weight: Tensor) -> None:
    del net[2].weight
    net[2].weight = nn.Parameter(weight, requires_grad=False)


UNLIKE = {
    "mode": lambda net: net.train(),
    "hook": lambda net: net[0].register_forward_hook(lambda *_: None),
    "hook before": lambda net: net[0].register_forward_pre_hook(lambda *_: None),
    "setting": lambda net: setattr(net[1], "inplace", True),
    "layer": lambda net: net.__setitem__(3, nn.Sigmoid()),
    "one more": lambda net: net.append(nn.Identity()),
    "method": lambda net: setattr(net[1], "forward", lambda x: x),
    "sparse": lambda net: weightless(net, torch.ones(8, 8).to_sparse()),
    "dtype": lambda net: weightless(net, torch.ones(8, 8).double()),
    "device": lambda net: weightless(net, torch.ones(8, 8, device="meta")),
    "computed": lambda net: nn.utils.parametrizations.spectral_norm(net[2]),
    "tensor": lambda net: setattr(net[2], "own", torch.ones(1)),
    "tensors": lambda net: setattr(net[2], "own", [torch.ones(1)]),
    "compiled": lambda net: net.compile(),
    "scripted": lambda net: net.__setitem__(1, torch.jit.script(nn.ReLU().eval())),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("change", UNLIKE)
def test_a_member_unlike_the_others_is_noticed(change: str) -> None:
    one, other = networks_of(mlp, 2)
    assert form_of(one)[0] == form_of(other)[0]
    UNLIKE[change](other)
    assert form_of(one)[0] != form_of(other)[0]


def test_a_form_tells_what_is_tied() -> None:
    class Twice(nn.Module):
        def __init__(self, tied: bool) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4)
            self.b = self.a if tied else nn.Linear(4, 4)

    tied, tied_too, free = (Twice(tied).eval() for tied in (True, True, False))
    assert form_of(tied)[0] == form_of(tied_too)[0] != form_of(free)[0]


def test_global_hooks_are_heard_by_all() -> None:
    networks, heard = networks_of(mlp), []
    members = as_one(networks)
    outputs(members, TABLE)
    handle = nn.modules.module.register_module_forward_hook(lambda *_: heard.append(1))
    try:
        outputs(as_one(networks), TABLE)
    finally:
        handle.remove()
    assert len(heard) == MEMBERS * 6


def new_weights(model: duda.DeepEnsemble) -> dict[str, Tensor]:
    return {name: torch.randn_like(value) for name, value in model.state_dict().items()}


def step(model: duda.DeepEnsemble) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.loss(TABLE, torch.zeros(6, dtype=torch.int64)).backward()
    optimizer.step()


def replace(model: duda.DeepEnsemble) -> None:
    model.members[3][0].weight = nn.Parameter(torch.randn(8, 4))


def write_unseen(model: duda.DeepEnsemble) -> None:
    model.members[2][0].weight.data.mul_(-1)  # which no version tells


def write_by_numpy(model: duda.DeepEnsemble) -> None:
    model.members[2][0].weight.detach().numpy()[:] = 1


CHANGES = {
    "step": step,
    "load": lambda model: model.load_state_dict(new_weights(model)),
    "replaced": replace,
    "data": write_unseen,
    "numpy": write_by_numpy,
    "member": lambda model: model.members.__setitem__(1, mlp()),
    "layer": lambda model: [member.__setitem__(1, nn.Sigmoid()) for member in model.members],
    "one layer": lambda model: model.members[4].__setitem__(3, nn.Sigmoid()),
    "hook": lambda model: model.members[1].register_forward_hook(lambda *args: args[2] * 2),
    "dtype": lambda model: model.double(),
    "back": lambda model: model.half().float(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_predictions_follow_the_members(change: str) -> None:
    model = duda.DeepEnsemble(mlp, duda.Categorical(), MEMBERS)
    with patch("duda.methods.deep_ensemble.StackedMembers", as_one):
        for _ in range(3):
            before = model.predict(TABLE).probs
        CHANGES[change](model)
        for _ in range(3):
            after = model.predict(TABLE).probs
            x = TABLE.to(next(model.parameters()).dtype)
            expected = in_turn([*model.eval().members], x).softmax(2).mean(0)
            torch.testing.assert_close(after, expected)
    assert change in ("dtype", "back") or not torch.allclose(after, before, atol=1e-4)


def test_copies_and_files_have_weights_of_their_own(tmp_path: Path) -> None:
    model = duda.DeepEnsemble(mlp, duda.Categorical(), MEMBERS)
    with patch("duda.methods.deep_ensemble.StackedMembers", as_one):
        before = [model.predict(TABLE).probs for _ in range(2)][1]
        other = copy.deepcopy(model)
        torch.save(model.state_dict(), tmp_path / "weights.pt")
        with torch.no_grad():
            for weight in other.parameters():
                weight.zero_()
        torch.testing.assert_close(other.predict(TABLE).probs, torch.full((6, 3), 1 / 3))
        torch.testing.assert_close(model.predict(TABLE).probs, before)
        other.load_state_dict(torch.load(tmp_path / "weights.pt"))
        torch.testing.assert_close(other.predict(TABLE).probs, before)


def test_nothing_of_the_stack_is_in_the_model() -> None:
    model = duda.DeepEnsemble([mlp() for _ in range(MEMBERS)], duda.Categorical())
    size, shown = len(pickle.dumps(model)), repr(model)
    attributes = [list(vars(module)) for module in model.modules()]
    with patch("duda.methods.deep_ensemble.StackedMembers", as_one):
        for _ in range(3):
            model.predict(TABLE)
    assert (len(pickle.dumps(model)), repr(model)) == (size, shown)
    assert [list(vars(module)) for module in model.modules()] == attributes


def test_weights_are_stacked_once_for_all_batches_and_kept_for_none_after() -> None:
    model = duda.DeepEnsemble(mlp, duda.Categorical(), MEMBERS)
    with patch("duda.methods.deep_ensemble.StackedMembers", as_one):
        model.predict(TABLE, batch_size=2)
        with patch.object(stacked, "_stacked", wraps=stacked._stacked) as stacking:
            model.predict(TABLE, batch_size=2)
        assert stacking.call_count == 1
        gc.collect()
        shapes = [tuple(each.shape) for each in gc.get_objects() if type(each) is Tensor]
        assert (MEMBERS, 8, 4) not in shapes


def test_twenty_members_take_a_third_of_the_calls_at_most() -> None:
    model = duda.DeepEnsemble(mlp, duda.Categorical(), 20)
    networks = [*model.eval().members]
    with Calls() as by_hand:
        in_turn(networks, TABLE)
    with patch("duda.methods.deep_ensemble.StackedMembers", as_one):
        model.predict(TABLE)
        members = as_one(networks)
        with Calls() as at_once:
            outputs(members, TABLE)
    matrix = "addmm", "baddbmm", "bmm", "mm"
    assert (count(by_hand, *matrix), count(at_once, *matrix)) == (60, 3)
    assert 3 * len(at_once.names) < len(by_hand.names)


def test_groups_of_members_come_out_the_same_and_no_more_at_a_time() -> None:
    networks = networks_of(mlp, 7)
    for _ in range(2):
        with torch.no_grad():
            sizes = [len(each) for each in as_one(networks).draws(TABLE, 3)]
        assert sizes == [3, 3, 1]
        torch.testing.assert_close(outputs(as_one(networks), TABLE, 3), in_turn(networks, TABLE))


def test_weights_that_are_one_are_not_stacked() -> None:
    networks = networks_of(mlp)
    for network in networks[1:]:
        network[0] = networks[0][0]
    outputs(as_one(networks), TABLE)
    members = as_one(networks)
    with Calls() as calls:
        made = outputs(members, TABLE)
    assert not any(name.startswith("0.") for name in members._stack)
    assert count(calls, "addmm") == 1  # of what all share, once on the rows as they are
    torch.testing.assert_close(made, in_turn(networks, TABLE))
    with patch.object(members, "in_turn", wraps=members.in_turn) as called:
        outputs(members, TABLE, 2)
    assert called.called  # as groups of members would each run what all share


def test_an_error_comes_from_a_member_and_memory_that_is_short_is_told(caplog) -> None:
    networks = networks_of(mlp)
    outputs(as_one(networks), TABLE)
    with patch.object(StackedMembers, "_at_once", side_effect=torch.OutOfMemoryError("no room")):
        made = outputs(as_one(networks), TABLE)
    torch.testing.assert_close(made, in_turn(networks, TABLE))
    assert "no room" in caplog.text
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        outputs(as_one(networks), torch.randn(6, 5))


def test_gradients_flow_in_turn() -> None:
    networks = networks_of(mlp)
    members = as_one(networks)
    outputs(members, TABLE)
    torch.cat([*members.draws(TABLE)]).sum().backward()
    assert all(network[0].weight.grad is not None for network in networks)


def test_small_outputs_are_collected_and_shapes_that_differ_are_not() -> None:
    networks: list[nn.Module] = [nn.Identity(), nn.Identity(), nn.Unflatten(1, (2, 2))]
    assert [each.shape for each in each_in_turn(networks, TABLE, None)] == [(2, 6, 4), (1, 6, 2, 2)]
    large = torch.zeros(2**17, 4)
    assert [len(each) for each in each_in_turn([nn.Identity()] * 3, large, None)] == [1, 1, 1]
    assert [len(each) for each in each_in_turn([nn.Identity()] * 3, TABLE, 2)] == [2, 1]
