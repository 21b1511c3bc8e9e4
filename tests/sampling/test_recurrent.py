"""Recurrent layers and attention run once for all draws, which are rows to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import duda

WIDTH, STEPS, ROWS, DRAWS = 6, 5, 4, 7
LENGTHS = torch.tensor([3, 5, 1, 4])


class Recurrent(nn.Module):
    """A recurrent layer between two linear ones, and dropout in front of it if asked for."""

    def __init__(
        self, layer: nn.Module, p: float = 0.0, packs: bool = False, starts: bool = False
    ) -> None:
        super().__init__()
        self.first, self.dropout, self.layer = nn.Linear(WIDTH, WIDTH), nn.Dropout(p), layer
        self.packs, self.starts = packs, starts

    def forward(self, x: Tensor) -> Tensor:
        h: Any = self.dropout(self.first(x))
        batch_first = self.layer.batch_first
        h = h if batch_first else h.transpose(0, 1)
        if self.packs:
            h = pack_padded_sequence(h, LENGTHS, batch_first, enforce_sorted=False)
        out, ends = self.layer(h, *self._given(x))
        if isinstance(out, PackedSequence):
            out, _ = pad_packed_sequence(out, batch_first)
        ends = ends if isinstance(ends, Tensor) else torch.cat(ends, -1)
        return torch.cat([out.mean(1 if batch_first else 0), *ends], 1)

    def _given(self, x: Tensor) -> list[Any]:
        if not self.starts:
            return []
        number = self.layer.num_layers * (1 + self.layer.bidirectional)
        width = self.layer.proj_size or WIDTH
        start = self.dropout(self.first(x[:, 0]))[None, :, :width].expand(number, -1, -1)
        if not isinstance(self.layer, nn.LSTM):
            return [start.contiguous()]
        return [(start.contiguous(), x[:, 1].expand(number, -1, -1).contiguous())]


class Cells(nn.Module):
    def __init__(self, kind: type[nn.RNNCellBase]) -> None:
        super().__init__()
        self.cell, self.dropout = kind(WIDTH, WIDTH), nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for step in self.dropout(x).unbind(1):
            state = self.cell(step, state)
        return torch.cat(state, 1) if isinstance(state, tuple) else state


def layer(kind: type[nn.RNNBase], **options: Any) -> nn.RNNBase:
    return kind(WIDTH, WIDTH, **{"num_layers": 3, "dropout": 0.4, "batch_first": True} | options)


KINDS = (nn.LSTM, nn.GRU, nn.RNN)
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    **{f"{kind.__name__}": lambda kind=kind: Recurrent(layer(kind)) for kind in KINDS},
    **{
        f"{kind.__name__} packed": lambda kind=kind: Recurrent(layer(kind), packs=True)
        for kind in KINDS
    },
    **{
        f"{kind.__name__} after dropout": lambda kind=kind: Recurrent(
            layer(kind, num_layers=1, dropout=0.0), p=0.3
        )
        for kind in KINDS
    },
    **{
        f"{kind.__name__}": lambda kind=kind: Cells(kind)
        for kind in (nn.LSTMCell, nn.GRUCell, nn.RNNCell)
    },
    "RNN of ReLU": lambda: Recurrent(layer(nn.RNN, nonlinearity="relu")),
    "steps first": lambda: Recurrent(layer(nn.LSTM, batch_first=False)),
    "steps first, packed": lambda: Recurrent(layer(nn.GRU, batch_first=False), packs=True),
    "without bias": lambda: Recurrent(layer(nn.GRU, bias=False)),
    "both ways": lambda: Recurrent(layer(nn.LSTM, bidirectional=True)),
    "both ways, packed after dropout": lambda: Recurrent(
        layer(nn.LSTM, bidirectional=True), p=0.3, packs=True
    ),
    "states given": lambda: Recurrent(layer(nn.LSTM), starts=True),
    "states given, packed": lambda: Recurrent(layer(nn.GRU), packs=True, starts=True),
    "states that differ": lambda: Recurrent(
        layer(nn.LSTM, num_layers=2, dropout=0.0), p=0.3, packs=True, starts=True
    ),
    "projections": lambda: Recurrent(layer(nn.LSTM, proj_size=2), p=0.3, starts=True),
    "double": lambda: Recurrent(layer(nn.LSTM)).double(),
}


def made(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    network = NETWORKS[name]().eval()
    return network, torch.randn(ROWS, STEPS, WIDTH, dtype=next(network.parameters()).dtype)


def draws(model: duda.UncertainModel, x: Tensor, **options: Any) -> Tensor:
    return model.predict(x, seed=0, keep_draws=True, **options).draws


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # which torch gives for any
@pytest.mark.parametrize("name", NETWORKS)
def test_recurrent_layers_draw_at_once_what_they_draw_one_by_one(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    network, x = made(name)
    model = duda.MCDropout(network, duda.FixedGaussian(), samples=DRAWS)
    together = draws(model, x, chunk=DRAWS)
    assert not caplog.records  # of a loop
    assert (together.std(0) > 0).any()
    for chunk in (1, 3, None):
        torch.testing.assert_close(draws(model, x, chunk=chunk), together)


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("name", ["LSTM", "GRU packed", "states given", "LSTM after dropout"])
def test_recurrent_layers_run_once_for_all_draws(name: str) -> None:
    network, x = made(name)
    model = duda.MCDropout(network, duda.FixedGaussian(), samples=DRAWS)
    draws(model, x)  # finds out what is random
    with torch.autograd.profiler.profile() as profile:
        draws(model, x, chunk=DRAWS)
    count = sum(event.name in ("aten::lstm", "aten::gru") for event in profile.function_events)
    assert count == network.layer.num_layers


def test_each_draw_has_the_weights_of_its_own_in_a_recurrent_layer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("LSTM packed", "GRU after dropout", "LSTMCell", "GRUCell"):
        network, x = made(name)
        model = duda.MCDropConnect(network, duda.FixedGaussian(), samples=DRAWS)
        together = draws(model, x, chunk=DRAWS)
        assert (together.std(0) > 0).any()
        torch.testing.assert_close(draws(model, x, chunk=1), together)
    assert not caplog.records
