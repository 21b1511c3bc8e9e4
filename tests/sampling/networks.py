"""Networks that hide their randomness, or do what vmap cannot."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, library, nn

LENGTH, WIDTH = 5, 16


class Counter(nn.Module):
    """Passes its input on, and counts the rows that it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.rows.append(len(x))
        return x


class Body(nn.Module):
    """A linear layer, the module or function under test, and a linear head: (N, L, W) -> (N, 3)."""

    def __init__(self, middle: Callable[[nn.Module, Tensor], Tensor] | nn.Module) -> None:
        super().__init__()
        self.first = nn.Linear(WIDTH, WIDTH)
        self.middle = middle
        self.last = nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        h = self.middle(h) if isinstance(self.middle, nn.Module) else self.middle(self, h)
        h = h[0] if isinstance(h, tuple) else h
        return self.last(h.mean(1))


class SelfAttention(nn.Module):
    def __init__(self, need_weights: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2, dropout=0.3, batch_first=True)
        self.need_weights = need_weights

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x, need_weights=self.need_weights)[0]


class RecurrentAfterDropout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.3)
        self.recurrent = nn.LSTM(WIDTH, WIDTH, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.recurrent(self.dropout(x))[0]


class _Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return 2 * x


@library.custom_op("duda_tests::halved", mutates_args=())
def halved(x: Tensor) -> Tensor:
    return x / 2


def encoder() -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(WIDTH, 2, 32, 0.2, batch_first=True)


def in_place_sum(module: nn.Module, h: Tensor) -> Tensor:
    h = h * 1.5
    h += F.dropout(h, 0.3, module.training)
    return h


def overwritten(module: nn.Module, h: Tensor) -> Tensor:
    h = h * 1.5
    F.dropout(h, 0.3, module.training, inplace=True)
    return h


def branch(module: nn.Module, h: Tensor) -> Tensor:
    h = F.dropout(h, 0.3, module.training)
    return 2 * h if h.sum() > 0 else h


def shared_writes(module: nn.Module, h: Tensor) -> Tensor:
    h.mul_(2)
    h[:, 0] = 1.0
    return F.dropout(h, 0.3, module.training)


def several_writes(module: nn.Module, h: Tensor) -> Tensor:
    one, other = h + 1, h - 1
    before = one.mean()
    torch._foreach_mul_([one, other], 2.0)
    torch._foreach_add_([one], 1.0)
    return F.dropout(one * other, 0.3, module.training) + before + one


# Where dropout hides: each of these must show variance in eval mode.
HIDING_PLACES: dict[str, Callable[[], nn.Module]] = {
    "encoder layer": lambda: Body(encoder()),
    "encoder": lambda: Body(nn.TransformerEncoder(encoder(), 2)),
    "attention": lambda: Body(SelfAttention(need_weights=True)),
    "attention without weights": lambda: Body(SelfAttention(need_weights=False)),
    "F.dropout": lambda: Body(lambda m, h: F.dropout(h, 0.3, m.training)),
    "torch.dropout": lambda: Body(lambda m, h: torch.dropout(h, 0.3, m.training)),
    "Dropout1d": lambda: Body(nn.Dropout1d(0.3)),
    "Dropout2d": lambda: Body(lambda m, h: F.dropout2d(h[..., None], 0.3, m.training)[..., 0]),
    "Dropout3d": lambda: Body(
        lambda m, h: F.dropout3d(h[..., None, None], 0.3, m.training)[..., 0, 0]
    ),
    "AlphaDropout": lambda: Body(nn.AlphaDropout(0.3)),
    "FeatureAlphaDropout": lambda: Body(nn.FeatureAlphaDropout(0.3)),
    "LSTM": lambda: Body(nn.LSTM(WIDTH, WIDTH, 2, dropout=0.3, batch_first=True)),
    "GRU": lambda: Body(nn.GRU(WIDTH, WIDTH, 2, dropout=0.3, batch_first=True)),
    "LSTM after dropout": lambda: Body(RecurrentAfterDropout()),
    "scaled dot product": lambda: Body(
        lambda m, h: F.scaled_dot_product_attention(h, h, h, dropout_p=0.3, is_causal=True)
    ),
    "dropout in place": lambda: Body(nn.Sequential(nn.ReLU(True), nn.Dropout(0.3, inplace=True))),
}

# What vmap cannot do: each of these must give right draws all the same.
NEED_A_LOOP: dict[str, Callable[[], nn.Module]] = {
    "in-place sum": lambda: Body(in_place_sum),
    "overwritten by dropout": lambda: Body(overwritten),
    "branch on a drawn value": lambda: Body(branch),
    "no batching rule": lambda: Body(
        lambda m, h: torch.ops.duda_tests.halved(F.dropout(h, 0.3, m.training))
    ),
    "function out of sight": lambda: Body(
        lambda m, h: F.dropout(h, 0.3, m.training) + _Doubled.apply(torch.relu(h))
    ),
}

# What is written in place where all draws share it.
SHARED_WRITES: dict[str, Callable[[], nn.Module]] = {
    "in place before dropout": lambda: Body(shared_writes),
    "several tensors at once": lambda: Body(several_writes),
    "a number from shared data": lambda: Body(
        lambda m, h: F.dropout(h * float(h.sum()), 0.3, m.training)
    ),
    "noise of its own": lambda: Body(lambda m, h: h + 0.3 * torch.randn_like(h)),
}
