"""Families of numbers that only say the least: what the contract gives them, and what they lack."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from duda import GaussianPrediction, NumberPrediction, QuantilePrediction, load_prediction
from duda.predictions import PREDICTIONS, AffinePrediction
from tests.families import LogisticPrediction


@pytest.fixture
def answer() -> LogisticPrediction:
    return LogisticPrediction(torch.randn(6, 2).double(), torch.rand(6, 2).double() + 0.5)


def test_the_rest_follows_from_quantiles(answer: LogisticPrediction) -> None:
    lower, upper = answer.interval(0.9)
    torch.testing.assert_close((lower + upper) / 2, answer.mean)
    assert answer.score is answer.std
    assert answer.outputs == "2 outputs"
    assert len(answer[[0, 3]]) == 2
    assert answer.contributions(answer.mean).keys() == {"rmse", "coverage"}


def test_numerical_crps_is_that_of_many_samples(answer: LogisticPrediction) -> None:
    y = answer.mean + 0.7 * answer.std
    levels = (torch.arange(4000).double() + 0.5) / 4000
    draws = torch.stack([answer.quantile(float(q)) for q in levels])
    spread = draws.diff(dim=0) * (levels[1:] * (1 - levels[1:]))[:, None, None]
    expected = (draws - y).abs().mean(0) - spread.sum(0)
    torch.testing.assert_close(answer.crps(y), expected, rtol=2e-3, atol=0)


def test_numerical_crps_is_near_the_closed_form() -> None:
    normal = GaussianPrediction([[0.0, 1.0, -2.0]], [[1.0, 4.0, 0.01]])
    y = [[0.5, -9.0, -2.0]]
    numerical = NumberPrediction.crps(normal, y)
    torch.testing.assert_close(numerical, normal.crps(y), rtol=1e-3, atol=0)


def test_other_units_and_wider_ones(answer: LogisticPrediction) -> None:
    moved = answer.rescaled(factor=2.0, offset=5.0)
    assert isinstance(moved, AffinePrediction)
    torch.testing.assert_close(moved.quantile(0.1), 5 + 2 * answer.quantile(0.1))
    torch.testing.assert_close(moved.std, 2 * answer.std)
    wider = answer.stretched(torch.tensor([1.0, 3.0]))
    torch.testing.assert_close(wider.mean, answer.mean)
    torch.testing.assert_close(wider.std, answer.std * torch.tensor([1.0, 3.0]))
    y = torch.randn(6, 2).double()
    torch.testing.assert_close(moved.crps(5 + 2 * y), 2 * answer.crps(y))


def test_affine_forms_agree_with_a_family_that_has_its_own() -> None:
    normal, y = GaussianPrediction([[1.0], [2.0]], [[4.0], [0.25]]), torch.randn(2, 1).double()
    own, other = (
        normal.rescaled(factor=3.0, offset=-1.0),
        NumberPrediction.affine(normal, torch.tensor(3.0), torch.tensor(-1.0)),
    )
    assert type(own) is GaussianPrediction
    assert type(other) is AffinePrediction
    for ask in ("cdf", "log_prob", "crps", "pit"):
        torch.testing.assert_close(getattr(own, ask)(y), getattr(other, ask)(y))


def test_affine_forms_score_as_their_base_does() -> None:
    answer = QuantilePrediction([[[-1.0], [0.0], [3.0]]], [0.05, 0.5, 0.95])
    moved = NumberPrediction.affine(answer, torch.tensor(2.0), torch.tensor(1.0))
    assert moved.score.tolist() == [[8.0]]
    assert moved.score_name == answer.score_name
    assert not moved.can("std")
    assert not moved.can("levels")


@pytest.mark.parametrize("ability", ["cdf", "log_prob", "sample"])
def test_what_is_missing_is_told(answer: LogisticPrediction, ability: str) -> None:
    assert not answer.can(ability)
    with pytest.raises(TypeError, match=f"a LogisticPrediction has no `{ability}`, which this"):
        getattr(answer, ability)(3)


def test_quantiles_have_no_moments_and_say_so() -> None:
    answer = QuantilePrediction([[[-1.0], [1.0]]], [0.1, 0.9])
    assert not answer.can("std")
    assert not answer.can("mean")
    assert answer.can("quantile")


def test_a_family_of_ones_own_is_saved_and_loaded(
    answer: LogisticPrediction, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = answer.with_joint(True).save(f"{tmp_path}/answer")
    back = LogisticPrediction.load(path)
    assert back.joint
    assert torch.equal(back.mean, answer.mean)
    with pytest.raises(ValueError, match=r"its family is 'LogisticPrediction'.*PREDICTIONS"):
        load_prediction(path)
    monkeypatch.setitem(PREDICTIONS, "LogisticPrediction", LogisticPrediction)
    assert torch.equal(load_prediction(path).std, answer.std)
    moved = load_prediction(answer.rescaled(factor=2.0).save(path))
    assert torch.equal(moved.base.mean, answer.mean)


def test_arrays_of_affine_predictions_are_checked():
    base = GaussianPrediction([[0.0]], [[1.0]])
    assert float(AffinePrediction(base, np.array([[2.0]]), [[1.0]]).mean) == 1.0
    with pytest.raises(ValueError, match="`offset` has 1 NaN"):
        AffinePrediction(base, [[2.0]], [[float("nan")]])
