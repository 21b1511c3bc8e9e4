"""Draws as rows of one batch: only where rows have nothing to do with one another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import duda
from duda.batches import Batch
from duda.sampling.captures import Captured, plans
from tests.sampling.networks import WIDTH, Body, SelfAttention, encoder

X = torch.randn(5, 4, WIDTH, generator=torch.Generator().manual_seed(0))


def plan_of(network: nn.Module, x: Batch = X, *, joint: bool = True) -> Captured:
    model = duda.MCDropout(network, duda.Categorical(), samples=7)
    options: list[dict[str, Any]] = [{}, {"chunk": 3}, {"joint": joint}]
    expected = [model.predict(x, seed=0, keep_draws=True, **each).draws for each in options]
    model.prepare(x)
    for one, each in zip(expected, options, strict=True):
        found = model.predict(x, seed=0, keep_draws=True, **each).draws
        torch.testing.assert_close(found, one)
    [plan] = plans._plans[network].values()
    return plan


def residual(module: nn.Module, h: Tensor) -> Tensor:
    h = h.relu()
    return h + F.dropout(F.dropout(h, 0.3) + h.mean(), 0.2)


def of_features(module: nn.Module, h: Tensor) -> Tensor:
    return F.dropout(h, 0.3) * torch.rand(h.shape[0], 1, h.shape[2])


def in_place(module: nn.Module, h: Tensor) -> Tensor:
    h = F.dropout(h * 1.5, 0.3)
    return h + torch.empty_like(h).normal_(1.0, 0.5) + torch.zeros(h.shape[0], 4, WIDTH).uniform_()


def heads_in_rows(module: nn.Module, h: Tensor) -> Tensor:
    rows, length, width = h.shape
    heads = F.dropout(h, 0.1).view(rows, length, 2, width // 2).transpose(1, 2)
    heads = F.dropout(heads.reshape(rows * 2, length, -1), 0.3)
    return heads.view(rows, 2, length, -1).transpose(1, 2).reshape(rows, length, width)


def of_all_rows(module: nn.Module, h: Tensor) -> Tensor:
    h = F.dropout(h, 0.3)
    return h - h.mean(0)


def of_no_row(module: nn.Module, h: Tensor) -> Tensor:
    return F.dropout(h, 0.3) + torch.rand(h.shape[2])


def by_the_number_of_rows(module: nn.Module, h: Tensor) -> Tensor:
    return F.dropout(h, 0.3) / h.shape[0]


def steps_first(module: nn.Module, h: Tensor) -> Tensor:
    return F.dropout(h.transpose(0, 1), 0.3).transpose(0, 1)


@pytest.mark.parametrize(
    "middle",
    [
        nn.Dropout(0.5),
        residual,
        of_features,
        in_place,
        heads_in_rows,
        nn.Sequential(nn.Dropout(0.2), nn.LayerNorm(WIDTH), nn.AlphaDropout(0.3)),
        nn.LSTM(WIDTH, WIDTH, 2, dropout=0.3, batch_first=True),
        encoder(),
        SelfAttention(need_weights=False),
    ],
)
def test_draws_are_rows(middle: Any) -> None:
    assert plan_of(Body(middle)).as_rows is not None


@pytest.mark.parametrize("middle", [of_all_rows, of_no_row, by_the_number_of_rows, steps_first])
def test_draws_are_no_rows_where_rows_mix(middle: Callable[..., Tensor]) -> None:
    assert plan_of(Body(middle)).as_rows is None


def test_normalization_by_the_batch_is_of_one_draw() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Linear(WIDTH, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = F.dropout(x.flatten(0, 1), 0.3)
            return self.weight(F.batch_norm(h, None, None, training=True).view(x.shape)).mean(1)

    assert plan_of(Network(), joint=False).as_rows is None


def test_two_inputs_are_repeated() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(WIDTH, 8), nn.Linear(8, 3)

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return self.last(F.dropout(self.first(x), 0.5) * mask)

    x = {"x": X[:, 0], "mask": torch.rand(5, 8)}
    assert plan_of(Network(), x).as_rows is not None
