"""Attention runs once for all draws, which are rows to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import duda

WIDTH, STEPS, ROWS, DRAWS = 8, 5, 4, 7
PADDED = torch.arange(STEPS) >= torch.tensor([3, 3, 3, 3])[:, None]
OF_HEADS = torch.arange(2 * 25).view(2, 5, 5) % 3 == 1
CAUSAL = nn.Transformer.generate_square_subsequent_mask(STEPS)


class Attending(nn.Module):
    """Attention between two linear layers, with dropout in front of it if asked for."""

    def __init__(self, attend: Callable[[Any, Tensor], Tensor] | nn.Module, p: float = 0.0) -> None:
        super().__init__()
        self.first, self.dropout, self.last = (
            nn.Linear(WIDTH, WIDTH),
            nn.Dropout(p),
            nn.Linear(8, 3),
        )
        self.attend = attend

    def forward(self, x: Tensor) -> Tensor:
        h = self.dropout(self.first(x))
        h = self.attend(h) if isinstance(self.attend, nn.Module) else self.attend(self, h)
        return self.last(h.mean(1))


class Layer(nn.Module):
    """Self-attention, or that of a part of the steps to all."""

    def __init__(
        self, steps: int = STEPS, call: dict[str, Any] | None = None, **options: Any
    ) -> None:
        super().__init__()
        options = {"dropout": 0.4, "batch_first": True} | options
        self.attention = nn.MultiheadAttention(WIDTH, 2, **options)
        self.steps, self.call = steps, {"need_weights": False} | (call or {})

    def forward(self, h: Tensor) -> Tensor:
        options = {key: each(len(h)) if callable(each) else each for key, each in self.call.items()}
        asked = h if self.steps == STEPS else h[:, : self.steps]
        if not self.attention.batch_first:
            asked = h = h.transpose(0, 1)
        values = h[..., : self.attention.vdim]
        out, weights = self.attention(asked, h, h if values.shape == h.shape else values, **options)
        out = out if self.attention.batch_first else out.transpose(0, 1)
        return out if weights is None else out + weights.flatten(1).std(1)[:, None, None]


def heads(h: Tensor, number: int = 2) -> Tensor:
    return h.unflatten(-1, (number, -1)).transpose(1, 2)


def attended(p: float, number: int = 2, **options: Any) -> Callable[[Any, Tensor], Tensor]:
    """Return attention as models of language call it."""

    def attend(module: nn.Module, h: Tensor) -> Tensor:
        found = F.scaled_dot_product_attention(
            heads(h, 4),
            heads(h[..., : 2 * number], number),
            heads(h[..., : 2 * number], number),
            dropout_p=p if module.training else 0.0,
            enable_gqa=number < 4,
            **options,
        )
        return found.transpose(1, 2).flatten(2)

    return attend


def eager(module: nn.Module, h: Tensor) -> Tensor:
    q = k = v = heads(h)
    weights = F.softmax(q @ k.transpose(2, 3) / 2 + CAUSAL, -1, dtype=torch.float32).to(q.dtype)
    weights = F.dropout(weights, 0.3, training=module.training)
    return (weights @ v).transpose(1, 2).contiguous().view(*h.shape)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "layer": lambda: Attending(Layer()),
    "layer after dropout": lambda: Attending(Layer(), 0.3),
    "layer without dropout of its own": lambda: Attending(Layer(dropout=0.0), 0.3),
    "steps first": lambda: Attending(Layer(batch_first=False), 0.3),
    "with weights": lambda: Attending(Layer(call={"need_weights": True}), 0.3),
    "weights of heads": lambda: Attending(
        Layer(call={"need_weights": True, "average_attn_weights": False}), 0.3
    ),
    "padded": lambda: Attending(Layer(call={"key_padding_mask": lambda rows: PADDED[:rows]}), 0.3),
    "causal": lambda: Attending(Layer(call={"attn_mask": CAUSAL, "is_causal": True}), 0.3),
    "mask of each head": lambda: Attending(
        Layer(call={"attn_mask": lambda rows: OF_HEADS.repeat(rows, 1, 1)}), 0.3
    ),
    "zeros, biases, values apart": lambda: Attending(
        Layer(add_zero_attn=True, add_bias_kv=True, vdim=6), 0.3
    ),
    "of some": lambda: Attending(Layer(2), 0.3),
    "encoder": lambda: Attending(
        nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, 0.2, batch_first=True), 2)
    ),
    "encoder and decoder": lambda: Attending(lambda m, h: m.whole(h, h[:, :3]), 0.3),
    "function": lambda: Attending(attended(0.3)),
    "function after dropout": lambda: Attending(attended(0.0), 0.3),
    "function with a mask after dropout": lambda: Attending(attended(0.0, attn_mask=CAUSAL), 0.3),
    "function with a mask": lambda: Attending(attended(0.3, attn_mask=CAUSAL), 0.3),
    "function, causal, scaled": lambda: Attending(attended(0.3, is_causal=True, scale=0.2), 0.3),
    "groups of heads": lambda: Attending(attended(0.3, number=2), 0.3),
    "eager": lambda: Attending(eager, 0.3),
}


def made(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    network = NETWORKS[name]()
    if name == "encoder and decoder":
        network.whole = nn.Transformer(8, 2, 1, 1, 16, 0.2, batch_first=True)
    return network.eval(), torch.randn(ROWS, STEPS, WIDTH)


def draws(model: duda.UncertainModel, x: Tensor, **options: Any) -> Tensor:
    return model.predict(x, seed=0, keep_draws=True, **options).draws


@pytest.mark.parametrize("name", NETWORKS)
def test_attention_draws_at_once_what_it_draws_one_by_one(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    network, x = made(name)
    model = duda.MCDropout(network, duda.FixedGaussian(), samples=DRAWS)
    together = draws(model, x, chunk=DRAWS)
    assert not caplog.records  # of a loop
    assert (together.std(0) > 0).any()
    for chunk in (1, 3, None):
        torch.testing.assert_close(draws(model, x, chunk=chunk), together)
    joint = draws(model, x, joint=True)
    torch.testing.assert_close(draws(model, x, joint=True, chunk=2), joint)


LAYERS = [
    name for name in NETWORKS if "function" not in name and name not in ("groups of heads", "eager")
]


@pytest.mark.parametrize("name", LAYERS)
def test_layers_whose_dropout_never_drops_are_torchs_own(name: str) -> None:
    network, x = made(name)
    for module in network.modules():
        for setting in ("p", "dropout"):
            if isinstance(getattr(module, setting, None), float):
                setattr(module, setting, 2.0**-18)  # masks drop multiples of 2⁻¹⁶
    model = duda.MCDropout(network, duda.Categorical(), samples=2)
    found = draws(model, x)
    torch.testing.assert_close(found, network(x).softmax(1).expand_as(found), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["layer", "layer after dropout", "function after dropout"])
def test_attention_runs_once_for_all_draws(name: str) -> None:
    network, x = made(name)
    model = duda.MCDropout(network, duda.FixedGaussian(), samples=DRAWS)
    draws(model, x)  # finds out what is random
    with torch.autograd.profiler.profile() as profile:
        draws(model, x, chunk=DRAWS)
    names = [event.name for event in profile.function_events]
    attention = names.count("aten::scaled_dot_product_attention")
    assert attention + names.count("aten::softmax") - 1 <= 1 + ("layer" in name)
    assert names.count("aten::linear") <= 5
