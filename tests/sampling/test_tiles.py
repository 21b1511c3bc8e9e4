"""Tiles: all draws of some rows are one pass, and nobody can tell by the draws."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import duda
from duda.sampling import tiles
from tests.sampling.networks import HIDING_PLACES, LENGTH, WIDTH, Body, Counter

ROWS, SAMPLES = 37, 6


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return what sets how many bytes a tile may have."""

    def limit(size: int) -> None:
        monkeypatch.setattr(tiles, "_CACHE", size)

    limit(2**14)
    monkeypatch.setattr(tiles, "_LITTLE", float("inf"))
    return limit


class Net(nn.Module):
    """A trunk that counts rows, something random, and a head that counts them too."""

    def __init__(self, middle: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.counter, self.trunk, self.middle = Counter(), nn.Linear(8, 64), middle
        self.seen, self.head = Counter(), nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.trunk(self.counter(x)))
        return self.head(self.seen(self.middle(h)))


def by_axis_1(h: Tensor) -> Tensor:
    return F.dropout(h.T, 0.5).T


def of_all_rows(h: Tensor) -> Tensor:
    return F.dropout(h - h.mean(0), 0.5)


def of_a_square_graph(h: Tensor) -> Tensor:
    return F.dropout(torch.ones(ROWS, ROWS) @ h, 0.5)


def sorted_rows(h: Tensor) -> Tensor:
    return F.dropout(h.sort(0).values, 0.5)


def one_mask(h: Tensor) -> Tensor:
    return h * F.dropout(torch.ones(64), 0.5)


def by_row_and_one_mask(h: Tensor) -> Tensor:
    return F.dropout(h, 0.5) * F.dropout(torch.ones(64), 0.5) * (1 + 0.1 * torch.randn(len(h), 1))


APART: dict[str, Callable[[Tensor], Tensor]] = {
    "dropout": lambda h: F.dropout(h, 0.5),
    "16-bit masks": lambda h: F.dropout(h, 0.3),
    "noise of its own": lambda h: h + torch.randn_like(h),
    "heads on the rows' axis": lambda h: F.dropout(h.view(-1, 16), 0.5).view(-1, 64),
    "by row and for all": by_row_and_one_mask,
    "one mask for all": one_mask,
}
TOGETHER: dict[str, Callable[[Tensor], Tensor]] = {
    "numbers on another axis": by_axis_1,
    "statistics of the batch": of_all_rows,
    "one number of rows": of_a_square_graph,
    "rows in another order": sorted_rows,
}


def model_of(middle: Callable[[Tensor], Tensor]) -> duda.MCDropout:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return duda.MCDropout(Net(middle), duda.Categorical(), samples=SAMPLES)


def inputs(rows: int = ROWS) -> Tensor:
    return torch.randn(rows, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", APART)
def test_rows_in_tiles_have_the_draws_of_the_whole_batch(
    kind: str, memory: Callable[[int], None]
) -> None:
    model, x = model_of(APART[kind]), inputs()
    found = model.predict(x, seed=0, keep_draws=True)
    assert len(model.network.counter.rows) > 2
    assert len(set(model.network.counter.rows)) <= 2
    assert sum(model.network.counter.rows) == ROWS
    memory(2**30)
    whole = model.predict(x, seed=0, keep_draws=True)
    assert model.network.counter.rows[-1] == ROWS
    torch.testing.assert_close(found.draws, whole.draws)
    torch.testing.assert_close(found.entropy, whole.entropy)
    torch.testing.assert_close(found.epistemic, whole.epistemic)


@pytest.mark.parametrize("kind", TOGETHER)
def test_rows_that_need_each_other_stay_together(kind: str, memory: Callable[[int], None]) -> None:
    model, x = model_of(TOGETHER[kind]), inputs()
    found = model.predict(x, seed=0, keep_draws=True)
    assert model.network.counter.rows == [ROWS]
    assert set(model.network.seen.rows) == {ROWS}
    memory(2**30)
    torch.testing.assert_close(found.draws, model.predict(x, seed=0, keep_draws=True).draws)


@pytest.mark.parametrize("size", [2**15, 2**17, 2**18])
def test_the_size_of_tiles_changes_no_draw(size: int, memory: Callable[[int], None]) -> None:
    model, x = model_of(APART["16-bit masks"]), inputs(100)
    expected = model.predict(x, seed=3, keep_draws=True).draws
    memory(size)
    torch.testing.assert_close(model.predict(x, seed=3, keep_draws=True).draws, expected)
    memory(2**10)  # which even a row does not fit
    torch.testing.assert_close(model.predict(x, seed=3, keep_draws=True).draws, expected)
    assert model.network.counter.rows[-1] == 1


def test_no_tile_computes_more_than_the_memory_is(memory: Callable[[int], None]) -> None:
    model, x = model_of(APART["dropout"]), inputs(200)
    for size in (2**16, 2**18):
        memory(size)
        model.network.seen.rows.clear()
        model.predict(x, seed=0)
        # What differs by draw: the mask's result and the outputs.
        assert max(model.network.seen.rows) * SAMPLES * (64 + 3) * 4 <= size + 8 * SAMPLES * 67 * 4


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("batch_size", [ROWS, 16])
def test_joint_draws_and_batches(
    joint: bool, batch_size: int, memory: Callable[[int], None]
) -> None:
    model, x = model_of(APART["dropout"]), inputs()
    arguments = {"seed": 0, "keep_draws": True, "joint": joint, "batch_size": batch_size}
    found = model.predict(x, **arguments)
    memory(2**30)
    torch.testing.assert_close(found.draws, model.predict(x, **arguments).draws)


@pytest.mark.parametrize(
    "make",
    [
        lambda net: duda.MCDropConnect(net, duda.Categorical(), samples=SAMPLES, layers="head"),
        lambda net: duda.Variational(net, duda.Categorical(), samples=SAMPLES, layers="head"),
        lambda net: duda.Variational(
            net, duda.Categorical(), samples=SAMPLES, layers="head", estimator="local"
        ),
        lambda net: duda.Variational(
            net, duda.Categorical(), samples=SAMPLES, layers="head", estimator="flipout"
        ),
    ],
)
def test_weights_of_a_draw_are_the_same_in_all_tiles(
    make: Callable[[nn.Module], duda.UncertainModel],
    memory: Callable[[int], None],
) -> None:
    memory(2**11)
    model, x = make(Net(lambda h: h)), inputs(200)
    found = model.predict(x, seed=0, keep_draws=True)
    rows = model.network.counter.rows
    assert len(rows) > 2
    memory(2**30)
    torch.testing.assert_close(found.draws, model.predict(x, seed=0, keep_draws=True).draws)


def test_weights_are_not_drawn_again_for_a_few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "_LITTLE", 0.1)
    net = nn.Sequential(Counter(), nn.Linear(8, 512), nn.ReLU(), nn.Linear(512, 3))
    model = duda.MCDropConnect(net, duda.Categorical(), samples=SAMPLES)
    model.predict(inputs(), seed=0)
    assert set(net[0].rows) == {ROWS}


@pytest.mark.parametrize("name", HIDING_PLACES)
def test_hiding_places(name: str, memory: Callable[[int], None]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net, x = HIDING_PLACES[name](), torch.randn(ROWS, LENGTH, WIDTH)
    model = duda.MCDropout(net, duda.FixedGaussian(), samples=SAMPLES)
    found = model.predict(x, seed=0, keep_draws=True)
    memory(2**30)
    torch.testing.assert_close(found.draws, model.predict(x, seed=0, keep_draws=True).draws)


def test_inputs_by_name_and_places_in_the_outputs(memory: Callable[[int], None]) -> None:
    class Maps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.dropout = nn.Conv2d(1, 4, 3, padding=1), nn.Dropout2d(0.5)

        def forward(self, image: Tensor, scale: Tensor) -> Tensor:
            return self.dropout(self.conv(image)) * scale[:, None, None, None]

    model = duda.MCDropout(Maps(), duda.Categorical(), samples=SAMPLES)
    x = {"image": torch.randn(ROWS, 1, 6, 6), "scale": torch.rand(ROWS)}
    found = model.predict(x, seed=0)
    memory(2**30)
    torch.testing.assert_close(found.probs, model.predict(x, seed=0).probs)


def test_inputs_that_are_alike_tell_nothing_of_others(memory: Callable[[int], None]) -> None:
    """Of rows that are the same, a mean over the batch cannot be told; the next ones are asked."""
    model = model_of(of_all_rows)
    model.predict(torch.ones(ROWS, 8), seed=0)
    model.network.counter.rows.clear()
    model.predict(inputs(), seed=0)
    assert model.network.counter.rows == [ROWS]


def test_a_network_that_cannot_be_copied_is_not_asked(memory: Callable[[int], None]) -> None:
    model, x = model_of(APART["dropout"]), inputs()
    expected = model.predict(x, seed=0).probs
    other = model_of(APART["dropout"])
    other.network.stored = (i for i in range(3))
    torch.testing.assert_close(other.predict(x, seed=0).probs, expected)
    other.network.counter.rows.clear()  # of a few rows, by which random calls were looked for
    other.predict(x, seed=0)
    assert other.network.counter.rows == [ROWS]


def test_the_users_network_sees_no_rows_but_those_of_the_batch(
    memory: Callable[[int], None],
) -> None:
    memory(2**30)
    model = model_of(APART["dropout"])
    model.predict(inputs(), seed=0)
    assert model.network.counter.rows == [ROWS]
    assert type(model.network.middle(torch.ones(1, 64))) is Tensor


def test_hooks_see_the_batch_and_nothing_else(memory: Callable[[int], None]) -> None:
    model, seen = model_of(APART["dropout"]), []
    model.network.trunk.register_forward_hook(lambda module, args, out: seen.append(len(out)))
    model.predict(inputs(2), seed=0)  # by which all that is random in train mode is found
    seen.clear()
    found = model.predict(inputs(), seed=0)
    assert seen == [ROWS]
    memory(2**30)
    torch.testing.assert_close(found.probs, model.predict(inputs(), seed=0).probs)
    assert seen == [ROWS] * 2


def test_hooks_of_torch_are_part_of_a_network(memory: Callable[[int], None]) -> None:
    model = model_of(APART["dropout"])
    with pytest.warns(FutureWarning):
        nn.utils.weight_norm(model.network.head)
    found = model.predict(inputs(), seed=0)
    assert len(model.network.counter.rows) > 1
    memory(2**30)
    torch.testing.assert_close(found.probs, model.predict(inputs(), seed=0).probs)


def test_a_smaller_chunk_is_what_was_asked_for(memory: Callable[[int], None]) -> None:
    model = model_of(APART["dropout"])
    model.predict(inputs(), seed=0, chunk=2)
    assert model.network.counter.rows == [ROWS]
    assert model.network.seen.rows == [ROWS] * 3


def test_rows_whose_own_layers_are_recurrent(memory: Callable[[int], None]) -> None:
    net = Body(nn.LSTM(WIDTH, WIDTH, 2, dropout=0.3))  # which takes rows for steps
    model = duda.MCDropout(net, duda.FixedGaussian(), samples=SAMPLES)
    x = torch.randn(ROWS, LENGTH, WIDTH)
    found = model.predict(x, seed=0, keep_draws=True)
    memory(2**30)
    torch.testing.assert_close(found.draws, model.predict(x, seed=0, keep_draws=True).draws)
