"""Joint draws: one function for all examples, whatever the batch, chunk and executor."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

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


def attention_and_turns(m: nn.Module, h: Tensor) -> Tensor:
    """Drop heads' weights, example by example, and then positions in turns."""
    return positions_in_turns(m, heads(m, h))


def sorted_first(m: nn.Module, h: Tensor) -> Tensor:
    """Drop in examples that are sorted by one of their numbers."""
    order = h[:, 0, 0].argsort()
    return F.dropout(h[order].flatten(0, 1), 0.3).view(h.shape)[order.argsort()]


def between_positions_and_heads(m: nn.Module, h: Tensor) -> Tensor:
    """Drop in rows that have the examples between positions and halves of the features."""
    halves = h.view(len(h), LENGTH, 2, WIDTH // 2).transpose(0, 1)
    return F.dropout(halves.flatten(0, 2), 0.3).view(halves.shape).transpose(0, 1).flatten(2)


def repeated(m: nn.Module, h: Tensor) -> Tensor:
    """Return the mean of a few looks at all examples, which is the same in any order."""
    return F.dropout(h.repeat(4, 1, 1), 0.5).unflatten(0, (4, -1)).mean(0)


def packed(recurrent: nn.Module) -> nn.Module:
    """Return a recurrent network of sequences, each as long as its own numbers say."""

    def forward(m: Middle, h: Tensor) -> Tensor:
        lengths = (h[:, :, 0] > 0).sum(1).clamp_min(1)
        of_all = pack_padded_sequence(h, lengths, batch_first=True, enforce_sorted=False)
        return m.recurrent(of_all)[1][-1].unsqueeze(1)

    return Body(Middle(forward, recurrent=recurrent))


def encoder(batch_first: bool) -> nn.Module:
    return nn.TransformerEncoder(
        nn.TransformerEncoderLayer(WIDTH, 2, 32, 0.2, batch_first=batch_first),
        2,
        enable_nested_tensor=False,
    )


JOINT: dict[str, Callable[[], nn.Module]] = {
    **HIDING_PLACES,
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
    "flattened, one or the other way": lambda: Body(attention_and_turns),
    "flattened, in between": lambda: Body(between_positions_and_heads),
    "flattened, sorted": lambda: Body(sorted_first),
    "repeated": lambda: Body(repeated),
    "sequence-first RNN": lambda: sequence_first(
        Middle(lambda m, h: m.rnn(h)[0], rnn=nn.RNN(WIDTH, 8, 2, dropout=0.3, bidirectional=True))
    ),
    "packed GRU": lambda: packed(nn.GRU(WIDTH, WIDTH, 2, dropout=0.3, batch_first=True)),
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
    "a sum of positions": (
        lambda: Body(lambda m, h: F.dropout(h.flatten(0, 1), 0.3).cumsum(0).view(h.shape)),
        "what is drawn for one example change others",
    ),
    "out of sight": (
        lambda: Body(lambda m, h: F.gumbel_softmax(F.dropout(h, 0.3))),
        "copies of an example different outputs",
    ),
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


@pytest.mark.parametrize("name", ["flattened, in turns", "heads"])
def test_an_input_that_tells_nothing_does_not_stand_for_others(name: str) -> None:
    net, x = made(JOINT[name])
    net.first.bias = None
    x[:8] = 0
    expected = draws(net, x)
    x[40] = x[9]
    torch.testing.assert_close(draws(net, x)[:, 40], expected[:, 9])
    assert torch.equal(draws(net, x[:8], seed=1), draws(net, x, seed=1)[:, :8])
    of_zeros_first = draws(net, x[8:], seed=1)
    net.added = nn.Identity()  # another network by now
    torch.testing.assert_close(of_zeros_first, draws(net, x[8:], seed=1))


def test_sequences_of_other_lengths_make_other_numbers_of_calls() -> None:
    net, x = made(
        lambda: Body(lambda m, h: torch.stack([F.dropout(s, 0.3) for s in h.unbind(1)], 1))
    )
    expected = draws(net, x)
    torch.testing.assert_close(draws(net, x[3:5]), expected[:, 3:5])
    short = draws(net, x[:, :2])
    torch.testing.assert_close(draws(net, x[3:5, :2]), short[:, 3:5])
    torch.testing.assert_close(draws(net, x), expected)


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # which torch gives for any
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *itertools.product(
            [nn.LSTM, nn.GRU, nn.RNN], [{}, {"bidirectional": True}, {"bias": False}]
        ),
        (nn.LSTM, {"proj_size": 2}),
    ],
)
@pytest.mark.parametrize("packs", [False, True])
def test_recurrent_layers_are_what_torch_makes_of_them(
    kind: type[nn.RNNBase], options: dict[str, int], packs: bool
) -> None:
    # A dropout that is nearly never: masks of 16 random bits drop one number in 65,536.
    torch.manual_seed(0)
    net, x = kind(4, 6, 3, dropout=2**-16, **options).eval(), torch.randn(5, 3, 4)
    number = 6 if options.get("bidirectional") else 3
    start, cells = torch.randn(number, 3, options.get("proj_size", 6)), torch.randn(number, 3, 6)
    given = pack_padded_sequence(x, torch.tensor([5, 3, 2])) if packs else x
    starts = (start, cells) if kind is nn.LSTM else start
    expected = net(given, starts)
    with HiddenDropout() as mode:
        outputs = net(given, starts)
    assert mode.found == 1
    torch.testing.assert_close(outputs, expected, rtol=1e-3, atol=1e-3)


def test_dropout_in_a_recurrent_layer_has_the_law_of_torch() -> None:
    torch.manual_seed(0)
    net, x = nn.GRU(4, 6, 3, dropout=0.4), torch.randn(5, 1, 4)
    with torch.no_grad():
        theirs = net.train()(x.expand(5, 4000, 4))[0][-1]
        with HiddenDropout():
            ours = net.eval()(x.expand(5, 4000, 4))[0][-1]
    torch.testing.assert_close(ours.mean(0), theirs.mean(0), rtol=0, atol=0.01)
    torch.testing.assert_close(ours.std(0), theirs.std(0), rtol=0.08, atol=0)


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
