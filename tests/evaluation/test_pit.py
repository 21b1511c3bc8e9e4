import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import duda
from duda import GaussianPrediction, LaplacianPrediction, QuantilePrediction
from duda.evaluation import (
    Pit,
    coverage,
    pit,
    pit_of_draws,
    pit_of_values,
)

ROWS = st.lists(
    st.tuples(st.floats(-5, 5), st.floats(0.1, 3), st.floats(-9, 9)), min_size=1, max_size=20
)


def column(values):
    return torch.tensor(values, dtype=torch.float64).unsqueeze(1)


def many(kind=GaussianPrediction, rows=500, members=1, dtype=torch.float64):
    """Return predictions, mixtures of random members, and targets that are drawn from them."""
    draws = torch.stack([torch.randn(members, rows), torch.rand(members, rows) + 0.1], 2)
    mean, variance = draws[..., :1], draws[..., 1:]
    chosen = torch.arange(rows) % members
    noise = torch.randn(rows)
    if kind is LaplacianPrediction:
        noise = torch.distributions.Laplace(0.0, 0.5**0.5).sample((rows,))
    picked = draws[chosen, torch.arange(rows)]
    y = picked[:, :1] + picked[:, 1:].sqrt() * noise.unsqueeze(1)
    moments = mean.mean(0), variance.mean(0), mean.var(0, correction=0)
    kept = draws if members > 1 else None
    parts = [value.to(dtype) for value in moments]
    return kind(*parts, None if kept is None else kept.to(dtype)), y


@pytest.mark.parametrize("kind", [GaussianPrediction, LaplacianPrediction])
@pytest.mark.parametrize("members", [1, 3])
def test_it_agrees_with_intervals(kind, members):
    answer, y = many(kind, members=members)
    found = pit(answer, y).coverage
    expected = coverage(answer, y, found.levels[5:100:10])
    assert torch.equal(found.inside[5:100:10], expected.inside)
    assert found.total == expected.total == 500
    assert found.levels.tolist() == [percent / 100 for percent in range(101)]


@settings(max_examples=30)
@given(ROWS)
def test_scipy(rows):
    mean, std, y = (np.array(part) for part in zip(*rows, strict=True))
    values = stats.norm.cdf(y, mean, std)
    found = pit(mean, y, std=std, bins=20)
    for place, level in enumerate(np.arange(21) / 20):
        least, most = (values < level - 1e-12).sum(), (values <= level + 1e-12).sum()
        assert least <= found.one_sided.inside[place] <= most
    assert found.total == len(rows)


@given(st.integers(1, 400))
@settings(max_examples=40)
def test_numbers_on_an_edge_are_told_apart(bins):
    edges = np.arange(bins + 1) / bins
    assert pit_of_values(edges, bins=bins).counts.tolist() == [1, 0] * bins + [1]
    above = np.nextafter(edges[:-1], 2)
    assert pit_of_values(above, bins=bins).counts.tolist() == [0, 1] * bins + [0]
    below = np.nextafter(edges[1:], -1)
    assert pit_of_values(below, bins=bins).counts.tolist() == [0, 1] * bins + [0]


def test_both_ends_belong_to_an_interval():
    found = pit_of_values([0.25, 0.75, 0.1], bins=4)
    assert found.coverage.levels.tolist() == [0.0, 0.5, 1.0]
    assert found.coverage.inside.tolist() == [0, 2, 3]
    assert found.one_sided.levels.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert found.one_sided.inside.tolist() == [0, 2, 2, 3, 3]


def test_an_odd_number_of_bins_starts_with_the_middle_one():
    found = pit_of_values([0.1, 0.5, 0.9], bins=3).coverage
    np.testing.assert_allclose(found.levels, [1 / 3, 1])
    assert found.inside.tolist() == [1, 3]


def test_one_sided_shares_are_not_mirrored():
    # uncertainty-toolbox 0.1.1 says [0, 0.75, 0.75], of y at least its quantile at 1 - q
    mean, std, y = [0.0, 1.0, 2.0, 3.0], [1.0, 0.5, 2.0, 1.0], [0.5, 1.2, -1.0, 3.0]
    found = pit(mean, y, std=std, bins=10)
    assert found.one_sided.observed[[1, 5, 9]].tolist() == [0.25, 0.5, 1.0]


def test_a_standard_deviation_of_zero_is_a_step():
    # uncertainty-toolbox 0.1.1 fails on an assertion
    found = pit([0.0, 0.0, 0.0], [0.0, 1.0, -1.0], std=[0.0, 0.0, 0.0], bins=4)
    assert found.counts.tolist() == [1, 0, 0, 0, 1, 0, 0, 0, 1]
    answer = GaussianPrediction(torch.zeros(3, 1), torch.zeros(3, 1))
    exact = coverage(answer, [[0.0], [1.0], [-1.0]], [0.5])
    assert torch.equal(found.coverage.inside[1:2], exact.inside)


@pytest.mark.parametrize("kind", [GaussianPrediction, LaplacianPrediction])
def test_a_true_model_is_uniform(kind):
    answer, y = many(kind, rows=20_000, members=4)
    found = pit(answer, y)
    low, high = found.coverage.null_band(0.9999)
    observed = found.coverage.observed
    assert bool(((low <= observed) & (observed <= high)).all())
    assert found.coverage.mean_error < 4 * found.coverage.null_mean_error
    shares = found.histogram()[1] / found.total
    np.testing.assert_allclose(shares, 0.05, rtol=0, atol=5 * math.sqrt(0.05 / 20_000))
    sure = pit(type(answer)(answer.mean, answer.variance / 4), y).coverage
    assert bool((sure.observed[1:-1] < low[1:-1]).all())


def test_float32_is_counted_in_float64():
    answer, y = many(dtype=torch.float32)
    std = answer.std.double()
    exact = stats.norm.cdf(y.double(), answer.mean.double(), std)
    np.testing.assert_allclose(
        pit(answer, y).one_sided.inside,
        pit_of_values(exact).one_sided.inside,
        rtol=0,
        atol=0,
    )


def test_parts_add_up_in_any_order():
    answer, y = many(members=2)
    whole = pit(answer, y)
    order = torch.randperm(len(answer))
    parts = [pit(answer[index], y[index]) for index in order.split(333)]
    assert torch.equal(sum(parts[1:], parts[0]).counts, whole.counts)
    assert whole.counts.dtype == torch.int64
    with pytest.raises(ValueError, match=r"the bins differ \(200 and 10 of them\)"):
        _ = whole + pit(answer, y, bins=10)


def test_histogram():
    found = Pit(torch.tensor([3, 1, 2, 4, 5]))
    edges, counts = found.histogram()
    assert edges.tolist() == [0.0, 0.5, 1.0]
    assert counts.tolist() == [3 + 1 + 1, 1 + 4 + 5]
    edges, counts = pit_of_values(torch.rand(1000), bins=101).histogram(20)
    assert len(counts) == 20
    assert float(counts.sum()) == 1000
    assert float(edges.diff().min()) > 0.03


@given(
    st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=1, max_size=9),
    st.lists(st.integers(0, 4), min_size=3, max_size=3),
)
def test_ranks_of_draws(draws, y):
    found = pit_of_draws(np.array(draws), y)
    members = len(draws)
    assert found.bins == members + 1
    middles = [
        (sum(d[i] < y[i] for d in draws) + sum(d[i] <= y[i] for d in draws) + 1)
        / (2 * (members + 1))
        for i in range(3)
    ]
    cells = [round(2 * middle * (members + 1)) for middle in middles]
    assert found.counts.tolist() == np.bincount(cells, minlength=2 * members + 3).tolist()


@given(st.sets(st.integers(0, 9), min_size=1, max_size=9), st.integers(-1, 10))
def test_different_draws_end_intervals(draws, y):
    ordered, members = sorted(draws), len(draws)
    inside = pit_of_draws(np.array(ordered)[:, None], [y]).coverage.inside.flip(0)
    assert inside[0] == 1
    for k in range(1, (members + 1) // 2 + 1):
        # From the k-th smallest to the k-th largest draw, both included.
        assert inside[k] == (ordered[k - 1] <= y <= ordered[members - k])


def test_ranks_are_uniform_for_any_number_of_draws():
    draws, y = torch.randn(3, 40_000), torch.randn(40_000)
    shares = pit_of_draws(draws, y).histogram()[1] / 40_000
    np.testing.assert_allclose(shares, 0.25, rtol=0, atol=5 * math.sqrt(0.25 / 40_000))


def test_positions_that_are_masked_out():
    answer = GaussianPrediction(torch.zeros(2, 1, 3, 3), torch.ones(2, 1, 3, 3))
    y, mask = torch.randn(2, 1, 3, 3), torch.rand(2, 1, 3, 3) > 0.4
    expected = pit(torch.zeros(int(mask.sum())), y[mask], std=torch.ones(int(mask.sum())))
    y[~mask] = math.nan
    assert torch.equal(pit(answer, y, mask=mask).counts, expected.counts)


@pytest.mark.parametrize("name", ["concrete", "power-plant", "wine-quality-red"])
def test_a_linear_model_of_real_data(real_data, name):
    data = duda.datasets.load(f"uci:{name}")
    inputs, y = data.train
    design = torch.cat([inputs, torch.ones(len(inputs), 1)], 1)
    weights = torch.linalg.lstsq(design, y, driver="gelsd").solution
    std = (y - design @ weights).square().mean().sqrt()
    unseen, truth = data.test
    mean = torch.cat([unseen, torch.ones(len(unseen), 1)], 1) @ weights
    found = pit(mean, truth, std=std.expand_as(mean))
    low, high = found.coverage.null_band(0.999)
    halved = pit(mean, truth, std=(std / 2).expand_as(mean))
    observed = found.coverage.observed
    assert float(((low <= observed) & (observed <= high)).double().mean()) > 0.5
    assert found.coverage.auce < 0.1
    assert halved.coverage.auce > 2 * found.coverage.auce


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pit_of_values([0.5, 1.1]), r"`values` lies in \[0.5, 1.1\]"),
        (lambda: pit_of_values([0.5, math.nan]), "`values` has 1 NaN"),
        (lambda: pit_of_values([]), "is empty"),
        (lambda: pit_of_values([0.5], bins=0), "`bins` is 0"),
        (lambda: pit_of_values([0.5]).histogram(0), "`bars` is 0"),
        (lambda: pit([0.0], [0.0], std=[-1.0]), "`std` holds -1"),
        (lambda: pit([0.0], [math.nan], std=[1.0]), "`y` has 1 NaN"),
        (lambda: pit_of_draws([[0.0]], [math.inf]), "`y` has 0 NaN and 1 infinite"),
        (lambda: pit_of_draws([[math.nan]], [0.0]), "`draws` has 1 NaN"),
        (lambda: pit_of_draws([[0.0], [1.0]], [0.0, 1.0]), r"`draws` has shape \(2, 1\)"),
        (lambda: pit(many()[0], torch.zeros(500)), r"y.unsqueeze\(1\)"),
        (lambda: pit(many()[0], torch.full((500, 1), math.nan)), "`y` has 500 NaN"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_quantiles_have_no_distribution_function():
    answer = QuantilePrediction([[[0.0], [1.0]]], [0.1, 0.9])
    with pytest.raises(TypeError, match=r"call `evaluation.coverage\(prediction, y\)`"):
        pit(answer, [[0.0]])
