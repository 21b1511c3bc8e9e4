"""Random numbers by draw, call and place: their law, and what they depend on."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor
from torch.func import vmap

from duda.sampling import Randomness, draw_generator, new_seed
from duda.streams import Stream, draw_key, draw_keys

MANY = 400_000


def stream(number: int = 0, seed: int = 0) -> Stream:
    return Stream(torch.tensor(draw_key(seed, number)))


def test_keys_are_the_outputs_of_splitmix64() -> None:
    # The first ones for the seed 1234567, as published with the generator.
    known = (6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431)
    assert [draw_key(1234567, number) % 2**64 for number in range(4)] == list(known)


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1, -5])
def test_keys_of_tensors_are_those_of_numbers(seed: int) -> None:
    numbers = torch.tensor([0, 1, 2, 1000, 2**40])
    expected = [draw_key(seed, number) for number in numbers.tolist()]
    assert draw_keys(seed, numbers).tolist() == expected
    assert numbers.tolist() == [0, 1, 2, 1000, 2**40]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_and_normal_numbers_have_their_law(dtype: torch.dtype) -> None:
    uniform, normal = stream().uniform((MANY,), dtype), stream().normal((MANY,), dtype)
    assert 0 <= uniform.min() < 1e-4
    assert 1 - 1e-4 < uniform.max() < 1
    assert stats.kstest(uniform.numpy(), "uniform").pvalue > 1e-3
    assert stats.kstest(normal.numpy(), "norm").pvalue > 1e-3
    beyond = int((normal.abs() > 4).sum())
    assert stats.binomtest(beyond, MANY, 2 * stats.norm.sf(4)).pvalue > 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_types_stay_below_one(dtype: torch.dtype) -> None:
    numbers = stream().uniform((MANY,), dtype)
    assert numbers.dtype is dtype
    assert numbers.max() < 1
    assert float(numbers.double().mean()) == pytest.approx(0.5, abs=0.005)
    assert float(stream().normal((MANY,), dtype).double().std()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_each_bit_is_even_and_tells_nothing_of_its_neighbours(dtype: torch.dtype) -> None:
    numbers = stream().integers((2**15,), dtype)
    shifts = torch.arange(8 * dtype.itemsize)
    bits = ((numbers.long().unsqueeze(1) >> shifts) & 1).double().flatten() * 2 - 1
    error = 5 / math.sqrt(len(bits))
    for lag in (1, 2, 8, 16, 32, 64, 128, 4096):
        assert abs(bits.mean()) < error
        assert abs((bits[lag:] * bits[:-lag]).mean()) < error


@pytest.mark.parametrize("other", ["draw", "seed", "call"])
def test_draws_seeds_and_calls_are_independent(other: str) -> None:
    def numbers(i: int) -> Tensor:
        one = stream(number=i if other == "draw" else 0, seed=i if other == "seed" else 0)
        for _ in range(i if other == "call" else 0):
            one.normal(())
        return one.normal((20_000,), torch.float64)

    table = torch.stack([numbers(i) for i in range(30)])
    correlations = torch.corrcoef(table) - torch.eye(30)
    assert correlations.abs().max() < 5 / math.sqrt(20_000)


@pytest.mark.parametrize("size", [1, 7, 2**15 * 8 + 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_several_draws_at_once_are_each_of_them(size: int, dtype: torch.dtype) -> None:
    keys = draw_keys(3, torch.arange(3))
    together = vmap(lambda key: Stream(key).integers((size,), dtype))(keys)
    assert torch.equal(together, torch.stack([Stream(k).integers((size,), dtype) for k in keys]))


def test_a_row_does_not_depend_on_how_many_there_are() -> None:
    for dtype in (torch.float32, torch.float64):
        assert torch.equal(stream().normal((9, 5), dtype)[:4], stream().normal((4, 5), dtype))
    bits = [stream().integers((rows, 3), torch.uint8) for rows in (9, 4)]
    assert torch.equal(bits[0][:4], bits[1])


N = 20_000
CALLS: dict[str, Callable[[], Tensor]] = {
    "rand": lambda: torch.rand(N),
    "rand of a tuple": lambda: torch.rand((N, 1), dtype=torch.float64),
    "rand_like": lambda: torch.rand_like(torch.ones(N)),
    "randn": lambda: torch.randn(N, 2),
    "randn_like": lambda: torch.randn_like(torch.ones(N).double()),
    "complex": lambda: torch.randn(N, dtype=torch.complex64).real,
    "normal": lambda: torch.normal(torch.ones(N), 2.0),
    "normal of a size": lambda: torch.normal(0.5, 3.0, size=(N,)),
    "normal_": lambda: torch.empty(N).normal_(3.0, std=0.5),
    "uniform_": lambda: torch.empty(N).uniform_(-1, 1),
    "randint": lambda: torch.randint(10, (N,)),
    "randint from": lambda: torch.randint(-2, 2, (N,)),
    "randint, many": lambda: torch.randint(2**40, (N,)),
    "randint named": lambda: torch.randint(low=1, high=4, size=(N,), dtype=torch.float32),
    "randint_like": lambda: torch.randint_like(torch.ones(N), 2),
    "bernoulli": lambda: torch.bernoulli(torch.full((N,), 0.3)),
    "bernoulli of p": lambda: torch.bernoulli(torch.ones(N, dtype=torch.int64), 0.3),
    "bernoulli, a method": lambda: torch.full((N,), 0.3).bernoulli(),
    "bernoulli_": lambda: torch.empty(N).bernoulli_(),
    "bernoulli_ of a tensor": lambda: torch.empty(N).bernoulli_(torch.full((N,), 0.3).double()),
    "own generator": lambda: torch.rand(N, generator=torch.Generator().manual_seed(1)),
    "dropout": lambda: F.dropout(torch.ones(N), 0.3),
    "dropout, not training": lambda: F.dropout(torch.ones(N), 0.3, training=False),
    "alpha dropout": lambda: F.alpha_dropout(torch.linspace(-2, 2, N), 0.3, training=True),
    "feature dropout": lambda: torch.feature_dropout(torch.ones(N, 1, 2), 0.3, True),
    "feature alpha dropout": lambda: F.feature_alpha_dropout(torch.ones(N, 1, 2), 0.3, True),
}
LEFT_TO_TORCH = ("complex", "own generator", "dropout, not training")


@pytest.mark.parametrize("name", CALLS)
def test_random_calls_have_the_law_of_torch(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expected = CALLS[name]()
        before = torch.get_rng_state()
        with answered(torch.tensor(0)) as mode:
            found = CALLS[name]()
        assert torch.equal(torch.get_rng_state(), before) is (name != "complex")
    assert (found.shape, found.dtype, found.stride()) == (
        expected.shape,
        expected.dtype,
        expected.stride(),
    )
    assert len(mode.stream.shapes) == (name not in LEFT_TO_TORCH)
    # Probabilities are met within 2⁻¹⁷, and so is what their inverse scales.
    one, other = (each.flatten().double().numpy().round(3) for each in (found, expected))
    assert stats.ks_2samp(one, other).pvalue > 1e-3
    if "feature" in name:
        assert torch.equal(found[..., 0], found[..., 1])


@pytest.mark.parametrize("name", [name for name in CALLS if name not in LEFT_TO_TORCH])
def test_random_calls_are_the_same_in_vmap(name: str) -> None:
    def call(key: Tensor) -> Tensor:
        with answered(key):
            return CALLS[name]()

    keys = draw_keys(0, torch.arange(3))
    together = vmap(call, randomness="error")(keys)
    torch.testing.assert_close(together, torch.stack([call(key) for key in keys]))


def answered(key: Tensor) -> Randomness:
    mode = Randomness()
    mode.draw, mode.stream = key, Stream(key)
    return mode


def test_what_torch_refuses_is_refused() -> None:
    with answered(torch.tensor(0)), pytest.raises(TypeError, match="normal"):
        torch.normal(0.0, 1.0)


def test_generators_and_seeds() -> None:
    def drawn(seed: int, number: int) -> list[float]:
        return torch.randn(3, generator=draw_generator(seed, number)).tolist()

    assert drawn(0, 1) == drawn(0, 1)
    assert len({tuple(drawn(seed, number)) for seed in (0, 1) for number in (0, 1)}) == 4
    with torch.random.fork_rng():
        torch.manual_seed(0)
        one, next_one = new_seed(), new_seed()
        torch.manual_seed(0)
        assert one == new_seed() != next_one
