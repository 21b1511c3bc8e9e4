"""What follows from quantiles, at the levels and between them, and what does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import duda
from duda import QuantilePrediction

LEVELS = [0.05, 0.25, 0.5, 0.8, 0.95]
VALUES = torch.tensor([[-2.0, -1.0, 0.0, 0.5, 4.0], [0.0, 0.0, 1.0, 1.0, 1.0]], dtype=torch.float64)


@pytest.fixture
def answer() -> QuantilePrediction:
    return QuantilePrediction(VALUES.unsqueeze(2), LEVELS)


@given(st.floats(0.05, 0.95))
def test_quantiles_are_interpolated_as_numpy_does(q: float) -> None:
    found = QuantilePrediction(VALUES.unsqueeze(2), LEVELS).quantile(q)[:, 0]
    expected = [np.interp(q, LEVELS, row) for row in VALUES.tolist()]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("place", range(5))
def test_a_level_gives_its_own_quantile(answer: QuantilePrediction, place: int) -> None:
    assert torch.equal(answer.quantile(LEVELS[place])[:, 0], VALUES[:, place])


def test_a_central_interval_between_levels_is_exact(answer: QuantilePrediction) -> None:
    # (1 - 0.9) / 2 is not 0.05 in float64.
    lower, upper = answer.interval(0.9)
    assert torch.equal(lower[:, 0], VALUES[:, 0])
    assert torch.equal(upper[:, 0], VALUES[:, 4])
    assert torch.equal(answer.score, upper - lower)
    assert torch.equal(answer.median[:, 0], VALUES[:, 2])
    assert torch.equal(answer.centre, answer.median)
    assert not answer.epistemic.any()


@pytest.mark.parametrize(
    ("levels", "central"),
    [
        ((0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975), (0.5, 0.8, 0.95)),
        (LEVELS, (0.9,)),
        ((0.1, 0.25, 0.75, 0.8), (0.5, 0.6)),
        ((0.1, 0.9), (0.8,)),
        ((0.49, 0.95), (0.02,)),
    ],
)
def test_central_levels_are_mirrored_or_the_widest(
    levels: tuple[float, ...], central: tuple[float, ...]
) -> None:
    values = torch.arange(len(levels), dtype=torch.float64).view(1, -1, 1)
    answer = QuantilePrediction(values, torch.tensor(levels, dtype=torch.float64))
    assert answer.central_levels == pytest.approx(central)
    assert answer.widest_level == pytest.approx(central[-1])
    assert bool((answer.score > 0).all())


def test_levels_need_no_mirror_image() -> None:
    answer = QuantilePrediction([[[0.0], [1.0], [2.0]]], [0.1, 0.4, 0.7])
    assert answer.central_levels == pytest.approx((0.4,))
    assert float(answer.score) == pytest.approx(2 - 2 / 3)
    assert float(answer.median) == pytest.approx(4 / 3)


@pytest.mark.parametrize("positions", [(), (3,), (2, 2)])
def test_each_position_has_quantiles_of_its_own(positions: tuple[int, ...]) -> None:
    values = torch.randn(4, 3, 2, *positions).sort(dim=1).values
    answer = QuantilePrediction(values, [0.1, 0.5, 0.8])
    assert answer.score.shape == answer.median.shape == (4, 2, *positions)
    flat = values.movedim((1, 2), (-2, -1)).reshape(-1, 3, 2)
    alone = QuantilePrediction(flat, [0.1, 0.5, 0.8]).score
    torch.testing.assert_close(answer.score.movedim(1, -1).reshape(-1, 2), alone)


@pytest.mark.parametrize(
    ("verb", "wrong", "message"),
    [
        ("quantile", 0.04, "`q` is 0.04, expected 0.05 to 0.95, the outermost levels"),
        ("quantile", 1.0, "`q` is 1.0"),
        ("quantile", float("nan"), "`q` is nan"),
        ("interval", 0.91, "`level` is 0.91, expected a probability above 0 and at most 0.9"),
        ("interval", 0, "`level` is 0"),
        ("interval", float("nan"), "`level` is nan"),
    ],
)
def test_what_is_unknown_is_told(
    answer: QuantilePrediction, verb: str, wrong: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(answer, verb)(wrong)


GOOD = {"quantiles": VALUES.unsqueeze(2), "levels": LEVELS}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"levels": []}, r"`levels` is \(\), expected at least two"),
        ({"levels": [0.0, 0.5]}, r"`levels` is \(0.0, 0.5\), expected probabilities between"),
        ({"levels": [0.1, 1.0]}, "expected probabilities between 0 and 1"),
        ({"levels": [0.1, float("nan")]}, "expected probabilities between 0 and 1"),
        ({"levels": [0.9, 0.1]}, "ascending numbers: sort them"),
        ({"levels": [0.1, 0.1, 0.9]}, "ascending numbers: sort them, and name each once"),
        ({"levels": [0.1, 0.5]}, "some below 0.5 and some above"),
        ({"levels": [0.1, 0.9]}, r"shape \(2, 5, 1\) and `levels` \(2,\), expected \(N, Q, D"),
        ({"quantiles": VALUES}, r"shape \(2, 5\) and `levels` \(5,\)"),
        ({"quantiles": GOOD["quantiles"].flip(1)}, r"cross.*call `quantiles.sort\(dim=1\).values`"),
        ({"quantiles": GOOD["quantiles"] * torch.nan}, "`quantiles` has 10 NaN"),
        (
            {"epistemic": torch.zeros(2)},
            r"`epistemic` has shape \(2,\).*`epistemic.unsqueeze\(1\)`",
        ),
        ({"epistemic": -torch.ones(2, 1)}, "`epistemic` has a variance of -1"),
        ({"draws": GOOD["quantiles"]}, "`draws` has shape"),
    ],
)
def test_what_are_no_quantiles_is_told(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        QuantilePrediction(**(GOOD | changed))


def test_rescaled_is_the_prediction_in_other_units(answer: QuantilePrediction) -> None:
    known = QuantilePrediction(
        answer.quantiles, answer.levels, torch.ones(2, 1), answer.quantiles.unsqueeze(0)
    )
    found = known.rescaled(factor=2.0, offset=-3.0)
    assert torch.equal(found.quantile(0.3), 2 * known.quantile(0.3) - 3)
    assert torch.equal(found.epistemic, torch.full((2, 1), 4.0))
    assert found.draws is not None
    assert torch.equal(found.draws[0], found.quantiles)
    with pytest.raises(ValueError, match="`factor` is 0"):
        known.rescaled(factor=0.0)


def disagreeing(spread: float, shape: tuple[int, ...] = (4, 2), seed: int = 0) -> torch.Tensor:
    """Return the quantiles of three normal distributions with other means, `(M, N, Q, D, ...)`."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.special.ndtri(torch.tensor(LEVELS, dtype=torch.float64))
    mean, std = torch.randn(2, 3, *shape, generator=generator, dtype=torch.float64)
    normal = normal.view(-1, *[1] * (len(shape) - 1))
    return (spread * mean).unsqueeze(2) + std.abs().unsqueeze(2) * normal


def reduced(draws: torch.Tensor, keep_draws: bool = True) -> QuantilePrediction:
    answer = duda.Quantiles(tuple(LEVELS)).reduce(draws.flatten(2, 3), keep_draws)
    assert isinstance(answer, QuantilePrediction)
    return answer


@pytest.mark.parametrize("spread", [0.1, 1.0, 1e4])
@pytest.mark.parametrize("shape", [(4, 2), (4, 2, 3)])
@given(st.floats(0.05, 0.95))
@settings(max_examples=20)
def test_quantiles_of_kept_draws_are_those_of_their_mixture(
    shape: tuple[int, ...], spread: float, q: float
) -> None:
    draws = disagreeing(spread, shape)
    found = reduced(draws).quantile(q)
    assert found.shape == shape
    for place in np.ndindex(*shape):
        below = 0.0
        for member in draws[(slice(None), place[0], slice(None), *place[1:])].tolist():
            if member[0] <= found[place] < member[-1]:
                below += np.interp(float(found[place]), member, LEVELS) / 3
            else:
                normal = (float(found[place]) - member[2]) / (member[4] - member[2]) * 1.6448536
                below += float(torch.special.ndtr(torch.tensor(normal))) / 3
        assert below == pytest.approx(q, abs=0.02)


@given(st.floats(0.05, 0.95), st.sampled_from([0.0, 3.0, 5e6]))
def test_draws_that_agree_are_their_mixture(q: float, offset: float) -> None:
    one = VALUES.unsqueeze(2) + offset
    answer = QuantilePrediction(one, LEVELS, draws=one.expand(4, *one.shape))
    alone = QuantilePrediction(one, LEVELS).quantile(q)
    torch.testing.assert_close(answer.quantile(q), alone, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("spread", [0.0, 0.5, 20.0])
@given(st.floats(0.05, 0.95))
@settings(max_examples=20)
def test_quantiles_ascend(spread: float, q: float) -> None:
    for keep in (True, False):
        answer = reduced(disagreeing(spread), keep)
        other = min(0.95, q + 0.01)
        assert bool((answer.quantile(q) <= answer.quantile(other) + 1e-9).all())


@pytest.mark.parametrize("level", LEVELS)
def test_without_kept_draws_normal_ones_give_the_normal_of_their_variance(level: float) -> None:
    mean = torch.tensor([-2.0, 0.0, 3.0], dtype=torch.float64).view(3, 1, 1)
    levels = torch.tensor(LEVELS, dtype=torch.float64)
    normal = torch.special.ndtri(levels).view(-1, 1)
    answer = reduced(mean.unsqueeze(2) + 0.7 * normal, keep_draws=False)
    expected = duda.GaussianPrediction(mean.mean(0), torch.full((1, 1), 0.49), answer.epistemic)
    torch.testing.assert_close(answer.quantile(level), expected.quantile(level))


@pytest.mark.parametrize("spread", [0.5, 3.0, 100.0])
def test_intervals_hold_what_they_promise_of_the_mixture(spread: float) -> None:
    draws, levels = disagreeing(spread, (50, 1)), torch.tensor(LEVELS, dtype=torch.float64)
    mean, std = draws[:, :, 2], (draws[:, :, 4] - draws[:, :, 2]) / torch.special.ndtri(levels)[4]
    true = duda.GaussianPrediction(
        mean.mean(0), std.square().mean(0), draws=torch.cat([mean, std.square()], 2)
    )
    for keep, rough in ((True, 0.03), (False, 0.1)):
        lower, upper = reduced(draws, keep).interval(0.9)
        held = (true.cdf(upper) - true.cdf(lower)).mean()
        assert float(held) == pytest.approx(0.9, abs=rough)


def test_the_score_holds_what_draws_disagree_about_and_not_whether_they_were_kept() -> None:
    draws = disagreeing(1.0)
    draws[:, 1] = draws[:1, 1]
    kept, streamed = reduced(draws), reduced(draws, keep_draws=False)
    torch.testing.assert_close(kept.score, streamed.score)
    torch.testing.assert_close(kept.median, streamed.median)
    between = draws.mean(0)[:, -1] - draws.mean(0)[:, 0]
    torch.testing.assert_close(kept.score > between + 1e-9, kept.epistemic > 0)
    lower, upper = streamed.interval(0.9)
    assert torch.equal(streamed.score, upper - lower)
    moved = kept.rescaled(factor=10.0, offset=5e6).quantile(0.3)
    torch.testing.assert_close(moved, 10 * kept.quantile(0.3) + 5e6, rtol=1e-12, atol=0)


def test_the_quantiles_of_kept_draws_are_what_is_asked_for() -> None:
    answer = reduced(disagreeing(3.0))
    said = torch.stack([answer.quantile(level) for level in LEVELS], 1)
    assert torch.equal(answer.quantiles, said)
    lower, upper = answer.interval(0.9)
    width = answer.contributions(torch.zeros(4, 2))["width"].values
    torch.testing.assert_close(width, upper - lower)


def test_an_ensemble_is_unsure_by_its_score_away_from_the_data() -> None:
    x = torch.rand(300, 1) * 2 - 1
    y = x.sin() + 0.1 * torch.randn(300, 1)
    factory = lambda: torch.nn.Sequential(  # noqa: E731
        torch.nn.Linear(1, 32), torch.nn.ReLU(), torch.nn.Linear(32, 7)
    )
    model = duda.DeepEnsemble(factory, duda.Quantiles(), members=4)
    duda.fit(model, (x, y), epochs=15, lr=1e-2, seed=0)
    far = torch.cat([torch.rand(100, 1) + 3, -torch.rand(100, 1) - 3])
    for keep in (True, False):
        scores = [model.predict(each, keep_draws=keep).score for each in (x, far)]
        assert duda.evaluation.ood(*scores).auroc > 0.95


def test_draws_are_checked_as_quantiles_are():
    quantiles, levels = [[[0.0], [1.0], [2.0]]], [0.05, 0.5, 0.95]
    with pytest.raises(ValueError, match=r"`draws` cross, .*call `draws.sort\(dim=2\).values`"):
        QuantilePrediction(quantiles, levels, draws=torch.tensor([[[[2.0], [1.0], [0.0]]]]))
    with pytest.raises(ValueError, match="infinite"):
        QuantilePrediction(quantiles, levels, draws=torch.full((2, 1, 3, 1), torch.inf))
    answer = QuantilePrediction(quantiles, levels, draws=np.array([quantiles, quantiles]))
    assert torch.equal(answer.interval(0.9)[1], torch.tensor([[2.0]], dtype=torch.float64))
