"""Joint draws: one function for all examples, whatever the batch, chunk and executor."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from duda.layers import SDEBlock
from duda.sampling import DrawnWeights, HiddenDropout, Randomness, random_draws
from tests.sampling.networks import HIDING_PLACES, LENGTH, WIDTH, Body

ROWS, DRAWS = 64, 5


class Middle(nn.Module):
    """A function as a module, to give some of its own modules."""

    def __init__(self, forward: Callable[[Middle, Tensor], Tensor], **modules: nn.Module) -> None:
        super().__init__()
        self.function = forward
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, h: Tensor) -> Tensor:
        return self.function(self, h)


def sequence_first(middle: nn.Module) -> nn.Module:
    return Body(Middle(lambda m, h: m.middle(h.transpose(0, 1)).transpose(0, 1), middle=middle))


def heads(m: nn.Module, h: Tensor) -> Tensor:
    """Attend with two heads, whose weights are one matrix for each example and head."""
    h = h.view(len(h), LENGTH, 2, WIDTH // 2).transpose(1, 2).flatten(0, 1)
    h = F.scaled_dot_product_attention(h, h, h, dropout_p=0.4)
    return h.unflatten(0, (-1, 2)).transpose(1, 2).flatten(2)


def positions_in_turns(m: nn.Module, h: Tensor) -> Tensor:
    """Drop in rows that are of all examples at one position, then of all at the next."""
    flat = F.dropout(h.transpose(0, 1).flatten(0, 1), 0.3)
    return flat.unflatten(0, (LENGTH, -1)).transpose(0, 1)


def encoder(batch_first: bool) -> nn.Module:
    return nn.TransformerEncoder(
        nn.TransformerEncoderLayer(WIDTH, 2, 32, 0.2, batch_first=batch_first),
        2,
        enable_nested_tensor=False,
    )


JOINT: dict[str, Callable[[], nn.Module]] = {
    **{name: make for name, make in HIDING_PLACES.items() if name not in ("LSTM", "GRU")},
    "batch norm": lambda: Body(
        Middle(
            lambda m, h: m.dropout(m.norm(h.transpose(1, 2)).transpose(1, 2)),
            norm=nn.BatchNorm1d(WIDTH),
            dropout=nn.Dropout(0.3),
        )
    ),
    "sequence-first encoder": lambda: sequence_first(encoder(batch_first=False)),
    "sequence-first dropout": lambda: sequence_first(nn.Dropout(0.3)),
    "heads": lambda: Body(heads),
    "flattened positions": lambda: Body(lambda m, h: F.dropout(h.flatten(0, 1), 0.3).view(h.shape)),
    "flattened, in turns": lambda: Body(positions_in_turns),
    "channels": lambda: Body(lambda m, h: F.dropout1d(h, 0.4)),
    "stochastic depth": lambda: Body(
        lambda m, h: h + h.relu() * h.new_empty(len(h), 1, 1).bernoulli_(0.5)
    ),
    "noise": lambda: Body(lambda m, h: h + torch.randn_like(h)),
    "noise for all": lambda: Body(lambda m, h: h + torch.randn(LENGTH, WIDTH)),
    "diffusion": lambda: Body(
        Middle(
            lambda m, h: m.block(h.flatten(1)).view(h.shape),
            block=SDEBlock(nn.Linear(LENGTH * WIDTH, LENGTH * WIDTH), nn.Linear(LENGTH * WIDTH, 1)),
        )
    ),
    "a loop": lambda: Body(lambda m, h: F.dropout(h, 0.3) * (2 if float(h.sum()) > -1e9 else 1)),
    "a loop after": lambda: Body(lambda m, h: _scaled(F.dropout(h, 0.3))),
}

# In which the numbers of one example go to another, or nobody knows to which.
MIXING: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "between examples": (
        lambda: Body(lambda m, h: h * F.dropout(torch.ones(len(h), len(h)), 0.5)[:, :1, None]),
        "for 2 examples",
    ),
    "in a sum": (
        lambda: Body(lambda m, h: h + torch.randn_like(h).cumsum(0)),
        "copies of an example different outputs",
    ),
    "LSTM": (HIDING_PLACES["LSTM"], "copies of an example different outputs"),
    "a call for each example": (
        lambda: Body(lambda m, h: torch.stack([F.dropout(each, 0.3) for each in h])),
        "more random calls for more examples",
    ),
}


def _scaled(h: Tensor) -> Tensor:
    return 2 * h if float(h.sum()) > -1e9 else h


def made(make: Callable[[], nn.Module]) -> tuple[nn.Module, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make().eval(), torch.randn(ROWS, LENGTH, WIDTH)


def draws(
    net: nn.Module,
    x: Tensor | dict[str, Tensor],
    chunk: int | None = None,
    randomness: Callable[[], Randomness] = HiddenDropout,
    *,
    seed: int = 0,
    vmapped: bool = True,
    joint: bool = True,
) -> Tensor:
    options = {"seed": seed, "joint": joint, "vmapped": vmapped}
    with torch.no_grad():
        return torch.cat(list(random_draws(net, x, DRAWS, chunk, randomness, **options)))


@pytest.mark.parametrize("name", JOINT)
def test_a_draw_is_one_function(name: str) -> None:
    net, x = made(JOINT[name])
    x[40] = x[3]
    expected = draws(net, x)
    torch.testing.assert_close(expected[:, 40], expected[:, 3])
    for rows in (7, 1):
        in_batches = torch.cat([draws(net, part) for part in x.split(rows)[:9]], 1)
        torch.testing.assert_close(in_batches, expected[:, : in_batches.shape[1]])
    for chunk in (1, 2):
        torch.testing.assert_close(draws(net, x, chunk), expected)
    torch.testing.assert_close(draws(net, x, vmapped=False), expected)
    torch.testing.assert_close(draws(net, x.flip(0)), expected.flip(1))
    assert (expected.var(0) > 0).any()
    assert not torch.allclose(draws(net, x, seed=1), expected)


@pytest.mark.parametrize("name", ["F.dropout", "encoder", "heads", "stochastic depth", "noise"])
def test_an_example_alone_has_the_same_law(name: str) -> None:
    net, x = made(JOINT[name])
    with torch.no_grad():
        ways = [
            torch.cat(list(random_draws(net, x[:1], 3000, seed=0, joint=joint))).double()
            for joint in (True, False)
        ]
    means, stds = ([way.__getattribute__(what)(0) for way in ways] for what in ("mean", "std"))
    error = (stds[0].square() + stds[1].square()).div(3000).sqrt()
    assert ((means[0] - means[1]).abs() < 5 * error).all()
    torch.testing.assert_close(stds[0], stds[1], rtol=0.15, atol=0)


@pytest.mark.parametrize("name", MIXING)
def test_what_mixes_examples_is_told(name: str) -> None:
    make, what = MIXING[name]
    net, x = made(make)
    with pytest.raises(ValueError, match=rf"`joint` is True, but the network .*{what}.*leave `joi"):
        draws(net, x)
    assert draws(net, x, joint=False).shape == (DRAWS, ROWS, 3)


def test_calls_that_were_not_seen_before_are_told() -> None:
    def more(m: nn.Module, h: Tensor) -> Tensor:
        h = F.dropout(h, 0.3)
        return F.dropout(h, 0.3) if len(h) > 3 else h

    net, x = made(lambda: Body(more))
    with pytest.raises(ValueError, match="more than the 1 random calls"):
        draws(net, x)


def test_names_of_inputs_and_other_lengths_are_fine() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = Body(encoder(batch_first=True))

        def forward(self, x: Tensor, scale: Tensor) -> Tensor:
            return self.body(x * scale)

    net, x = made(Named)
    scale = torch.rand(ROWS, 1, 1)
    expected = draws(net, {"x": x, "scale": scale})
    part = {"x": x[3:5], "scale": scale[3:5]}
    torch.testing.assert_close(draws(net, part), expected[:, 3:5])
    short = draws(net, {"x": x[:, :3], "scale": scale})
    torch.testing.assert_close(draws(net, {"x": x[:4, :3], "scale": scale[:4]}), short[:, :4])


@pytest.mark.parametrize("vmapped", [True, False])
def test_drawn_weights_are_joint_by_themselves(vmapped: bool) -> None:
    net, x = made(lambda: Body(nn.ReLU()))

    def weights() -> Randomness:
        return DrawnWeights(net, lambda _: {"last.weight": F.dropout(net.last.weight, 0.3)})

    expected = draws(net, x, None, weights, vmapped=vmapped)
    torch.testing.assert_close(draws(net, x, None, weights, joint=False), expected)
    torch.testing.assert_close(draws(net, x[5:8], None, weights), expected[:, 5:8])


def test_the_network_is_asked_once_for_all_batches_of_a_seed() -> None:
    net, x = made(lambda: Body(lambda m, h: F.dropout(h, 0.3)))
    rows: list[int] = []
    net.first.register_forward_hook(lambda module, args, out: rows.append(len(out)))
    for part in x.split(16):
        draws(net, part)
    assert rows == [2, 3, 3, 3, 16, 16, 16, 16]
    net.middle = lambda m, h: F.dropout(h.transpose(0, 1), 0.3).transpose(0, 1)
    net.added = nn.Identity()  # another network by now
    draws(net, x)
    assert rows[8:] == [2, 3, 3, 3, ROWS]


def test_asking_leaves_the_global_generator_alone() -> None:
    net, x = made(HIDING_PLACES["encoder"])
    before = torch.get_rng_state()
    draws(net, x)
    assert torch.equal(torch.get_rng_state(), before)
