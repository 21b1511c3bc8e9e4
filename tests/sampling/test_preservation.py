"""Predicting leaves no trace, also when the network raises half-way."""

from __future__ import annotations

import operator
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import duda


class Restless(nn.Module):
    """Writes to all that it has: buffers, weights, its own modes and its input."""

    def __init__(self, fails: bool = False) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.dropout = nn.Dropout(0.5)
        self.linear = nn.Linear(3, 2)
        self.register_buffer("calls", torch.zeros(()))
        self.fails = fails

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.calls = self.calls + 1
        self.linear.weight.data.mul_(0.5)
        with torch.no_grad():
            self.linear.bias.add_(1.0)
        self.norm.train()
        out = self.linear(self.dropout(self.norm(x)))
        x.mul_(0.0)
        if self.fails:
            raise RuntimeError("half-way")
        return out


def snapshot(model: nn.Module) -> tuple[dict[str, Tensor], list[bool], list[int]]:
    state = {name: value.clone() for name, value in model.state_dict().items()}
    identities = [id(t) for t in (*model.parameters(), *model.buffers())]
    return state, [module.training for module in model.modules()], identities


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("seed", [0, None])
@pytest.mark.parametrize(
    "method",
    [duda.Deterministic, duda.MCDropout, lambda net, like: duda.DeepEnsemble([net], like)],
    ids=["deterministic", "mc-dropout", "deep-ensemble"],
)
def test_everything_is_as_it_was(method: type, fails: bool, seed: int | None) -> None:
    net = Restless(fails)
    model = method(net, duda.Categorical())
    net.train()
    net.norm.eval()
    x = torch.randn(8, 3)
    before_x, before = x.clone(), snapshot(model)
    rng = torch.get_rng_state()
    if fails:
        with pytest.raises(RuntimeError, match="half-way"):
            model.predict(x, seed=seed)
    else:
        model.predict(x, seed=seed)
    state, modes, identities = snapshot(model)
    assert state.keys() == before[0].keys()
    assert all(torch.equal(state[name], value) for name, value in before[0].items())
    assert (modes, identities) == before[1:]
    assert "_compiled_call_impl" not in net.dropout.__dict__
    if seed is not None:
        assert torch.equal(torch.get_rng_state(), rng)
    if not isinstance(model, duda.MCDropout):
        return
    assert torch.equal(x, before_x)


def test_nan_weights_and_buffers_stay_too() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    net.register_buffer("never", torch.tensor([float("nan")]))
    duda.MCDropout(net, duda.FixedGaussian()).predict(torch.zeros(3, 2), seed=0)
    assert net.never.isnan().all()


class Writer(nn.Module):
    """Writes to its weights by a function, in each pass."""

    def __init__(self, write: Callable[[nn.Module, Tensor], object]) -> None:
        super().__init__()
        self.write = write
        self.embedding, self.bag = nn.Embedding(9, 4, max_norm=0.1), nn.EmbeddingBag(9, 4)
        self.linear, self.dropout = nn.Linear(4, 3), nn.Dropout(0.5)
        self.flat = torch.randn(17)  # which only its parts are weights of
        self.first = nn.Parameter(self.flat[:4])
        self.second = nn.Parameter(self.flat[5:17].view(3, 4))
        self.zero = nn.Parameter(torch.zeros(3))
        self.register_buffer("places", torch.arange(3.0))
        self.recurrent = nn.LSTM(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        self.write(self, x)
        return self.dropout(x[:, None] * self.first) @ (self.linear.weight + self.second).T


def renew(m: Writer, x: Tensor) -> None:
    m.linear.weight = nn.Parameter(m.linear.weight * 2)
    m.recurrent.weight_hh_l0 = nn.Parameter(m.recurrent.weight_hh_l0 * 2)


WRITES: dict[str, Callable[[Writer, Tensor], object]] = {
    "max_norm": lambda m, x: m.embedding(torch.arange(9)),
    "max_norm of a function": lambda m, x: F.embedding(torch.arange(3), m.second, None, 0.1),
    "max_norm of a bag": lambda m, x: F.embedding_bag(
        torch.tensor([[1, 2]]), m.bag.weight, max_norm=0.1
    ),
    "renormed": lambda m, x: torch.embedding_renorm_(m.second.data, torch.arange(2), 0.1, 2.0),
    "_foreach_": lambda m, x: torch._foreach_mul_([m.first, m.linear.weight, m.places], 2.0),
    "_foreach_ of one": lambda m, x: torch._foreach_add_([m.linear.weight], 1.0),
    "out": lambda m, x: torch.sort(torch.rand(3), out=(m.zero.data, torch.empty(0).long())),
    "a larger storage": lambda m, x: m.flat.mul_(2),
    "a view of it": lambda m, x: m.flat[6:8].add_(1),
    "a view of a weight": lambda m, x: m.linear.weight[0].zero_(),
    "data": lambda m, x: m.linear.weight.data.add_(1),
    "other data": lambda m, x: setattr(m.linear.weight, "data", torch.ones(3, 4)),
    "set_": lambda m, x: m.linear.weight.set_(torch.ones(3, 4)),
    "set_ of a buffer": lambda m, x: m.places.set_(torch.ones(3)),
    "other data of a buffer": lambda m, x: setattr(m.places, "data", torch.ones(2)),
    "resize_": lambda m, x: m.places.resize_(7).fill_(1),
    "new parameters": renew,
    "a new buffer": lambda m, x: setattr(m, "places", m.places + 1),
    "zero to minus zero": lambda m, x: (m.zero.neg_(), m.places.mul_(-1)),
    "+=": lambda m, x: m.zero.__iadd__(1.0),
    "numpy": lambda m, x: m.linear.weight.detach().numpy().fill(3.0),
    "init": lambda m, x: nn.init.normal_(tensor=m.linear.weight),
    "copy_": lambda m, x: m.zero.copy_(torch.ones(3)),
    "[...]": lambda m, x: m.zero.data.__setitem__(slice(1), 5.0),
}


def bits(model: nn.Module) -> list[tuple[object, ...]]:
    """Return names, identities, memory and bytes of all weights and buffers."""
    return [
        (
            name,
            id(each),
            each.untyped_storage()._cdata,
            each.shape,
            each.detach().clone().numpy().tobytes(),
        )
        for name, each in (*model.named_parameters(), *model.named_buffers())
    ]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("method", [duda.Deterministic, duda.MCDropout])
def test_weights_that_are_written_to_are_put_back(method: type, write: str) -> None:
    net = Writer(WRITES[write])
    model, x = method(net, duda.Categorical()), torch.randn(5)
    before, flat = bits(model), net.recurrent._flat_weights
    answer = model.predict(x, seed=0)
    assert bits(model) == before
    assert all(map(operator.is_, net.recurrent._flat_weights, flat))
    torch.testing.assert_close(model.predict(x, seed=0).probs, answer.probs)
    duda.detectors.logits_of(net, x)
    assert bits(model) == before


@pytest.mark.parametrize("seed", [1.5, "0", True])
def test_a_seed_is_a_whole_number(seed: object) -> None:
    model = duda.Deterministic(nn.Linear(2, 2), duda.Categorical())
    with pytest.raises(ValueError, match=r"`seed` is .*, expected a whole number"):
        model.predict(torch.zeros(1, 2), seed=seed)


class Odd(nn.Module):
    """Has buffers of all kinds, which no write of one piece fits."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 2)
        kinds = {
            "sparse": torch.eye(2).to_sparse(),
            "expanded": torch.ones(1, 1).expand(4, 4),
            "transposed": torch.arange(6.0).view(2, 3).T,
            "conjugated": torch.ones(2, dtype=torch.complex64).conj(),
            "short": torch.ones(3).to(torch.float8_e4m3fn),
            "empty": torch.empty(0, 3),
            "whole": torch.tensor(3),
        }
        for name, buffer in kinds.items():
            self.register_buffer(name, buffer)
        self.register_buffer("again", self.whole)
        with torch.inference_mode():
            self.register_buffer("inference", torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        self.transposed.data.mul_(2)
        self.transposed[0] = 9
        self.whole += 1
        self.conjugated.mul_(2)
        F.batch_norm(x, self.inference[:3].clone(), self.transposed[:, 0], training=True)
        return self.linear(x)


def test_buffers_of_all_kinds_are_put_back() -> None:
    net = Odd()
    model = duda.Deterministic(net, duda.Categorical())
    before = {name: buffer.to_dense().clone() for name, buffer in net.named_buffers()}
    model.predict(torch.randn(4, 3), seed=0)
    after = dict(net.named_buffers())
    assert all(
        torch.equal(after[name].to_dense().view(torch.uint8), value.view(torch.uint8))
        if name == "short"
        else torch.equal(after[name].to_dense(), value)
        for name, value in before.items()
    )
