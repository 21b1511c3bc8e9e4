"""Predicting leaves no trace, also when the network raises half-way."""

from __future__ import annotations

import pytest
import torch
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


@pytest.mark.parametrize("seed", [1.5, "0", True])
def test_a_seed_is_a_whole_number(seed: object) -> None:
    model = duda.Deterministic(nn.Linear(2, 2), duda.Categorical())
    with pytest.raises(ValueError, match=r"`seed` is .*, expected a whole number"):
        model.predict(torch.zeros(1, 2), seed=seed)
