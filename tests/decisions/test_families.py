"""Each function on numbers by each family, also a user's own: what comes out, or what it lacks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import duda
from duda import Gate, NumberPrediction, load_prediction
from duda.decisions import (
    ConformalRegressor,
    QuantileRecalibration,
    StdScale,
    action_uncertainty,
    cautious,
    greedy,
    thompson,
)
from duda.predictions import PREDICTIONS
from tests.decisions.families import N, families

ONE, TWO = families(outputs=1), families(outputs=2)


def targets(answer: NumberPrediction) -> Tensor:
    """Return numbers that are about three standard deviations off."""
    noise = torch.randn(answer.centre.shape, generator=torch.Generator().manual_seed(1))
    return answer.centre + 3 * noise.double()


def gated(make: Callable[[], Gate]) -> Callable[[NumberPrediction], None]:
    def check(answer: NumberPrediction) -> None:
        y = targets(answer)
        by_answer = make().fit(answer, y, tolerance=3.0)
        bad = (y - answer.centre).abs() > 3.0
        by_scores = make().fit(answer.score.squeeze(1), is_bad=bad.squeeze(1))
        assert 0 < int(bad.sum()) < N
        assert by_answer.summary() == by_scores.summary()
        assert torch.equal(by_answer(answer).decisions, by_scores(answer.score).decisions)

    return check


def conformal(score: Any) -> Callable[[NumberPrediction], None]:
    def check(answer: NumberPrediction) -> None:
        y = targets(answer)
        fitted = ConformalRegressor(0.2, score).fit(answer, y)
        assert fitted(answer).coverage(y) >= 0.8
        torch.testing.assert_close(fitted(answer[:7]).lower, fitted(answer).lower[:7])

    return check


def scaled(answer: NumberPrediction) -> None:
    y = targets(answer)
    found = StdScale().fit(answer, y)(answer)
    torch.testing.assert_close(found.mean, answer.mean)
    ratio = ((y - found.mean) / found.std).square().mean(0)
    torch.testing.assert_close(ratio, torch.ones_like(ratio))
    assert found.interval(0.5)[0].shape == y.shape
    assert found.contributions(y).keys() == answer.contributions(y).keys()
    assert len(found.components()) == len(answer.components())


def moved(answer: NumberPrediction) -> None:
    y = targets(answer)
    found = QuantileRecalibration().fit(answer, y)(answer)
    below = (y <= found.quantile(0.25) + 1e-9).double().mean(0)
    np.testing.assert_allclose(below, 0.25, atol=1 / N)


def explored(answer: NumberPrediction) -> None:
    found = thompson(answer, per="batch", seed=0)
    plans = torch.stack([each.mean.argmax(1) for each in answer.components()])
    assert (plans == found).all(1).any()
    assert (plans == thompson(answer, seed=0)).any(0).all()


def best(answer: NumberPrediction) -> None:
    assert torch.equal(greedy(answer), answer.mean.argmax(1))


def uncertain(answer: NumberPrediction) -> None:
    found = action_uncertainty(answer)
    if answer.draws is not None:
        means = torch.stack([each.mean for each in answer.components()])
        spread = means.std(0, correction=0).gather(1, greedy(answer)[:, None])
        torch.testing.assert_close(found, spread.squeeze(1))
    acts = cautious(answer, Gate.keep(0.5).fit(found), safe=0)
    assert torch.equal(acts[acts != 0], greedy(answer)[acts != 0])


FUNCTIONS = {
    "keep": (ONE, gated(lambda: Gate.keep(0.8))),
    "risk": (ONE, gated(lambda: Gate.risk(0.6))),
    "false alarm": (ONE, gated(lambda: Gate.false_alarm(0.1))),
    "cost": (ONE, gated(lambda: Gate.cost(error=3, refusal=1))),
    "absolute": (TWO, conformal("absolute")),
    "normalized": (TWO, conformal("normalized")),
    "cqr": (TWO, conformal("cqr")),
    "StdScale": (TWO, scaled),
    "QuantileRecalibration": (TWO, moved),
    "thompson": (TWO, explored),
    "greedy": (TWO, best),
    "action_uncertainty": (TWO, uncertain),
}
LACKING = {
    ("normalized", "quantiles"): "a QuantilePrediction, which has no std: choose 'cqr'",
    ("StdScale", "quantiles"): "a QuantilePrediction has no `mean`, which this needs",
    ("QuantileRecalibration", "quantiles"): "a QuantilePrediction has no `cdf`",
    ("QuantileRecalibration", "least"): "a LogisticPrediction has no `cdf`, which this needs",
    ("thompson", "gaussian"): "`values` has no draws to pick from",
    ("thompson", "student t"): "`values` has no draws to pick from",
    ("thompson", "quantiles"): "`values` has no draws to pick from",
    ("thompson", "least"): "`values` has no draws to pick from",
    ("greedy", "quantiles"): "a QuantilePrediction has no `mean`, which this needs",
    ("action_uncertainty", "gaussian"): "no epistemic part",
    ("action_uncertainty", "quantiles"): "a QuantilePrediction has no `mean`",
    ("action_uncertainty", "least"): "no epistemic part",
}


@pytest.mark.parametrize("family", [name for name in TWO if name != "quantiles"])
def test_scaled_predictions_are_kept(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = TWO[family]
    found = StdScale().fit(answer, targets(answer))(answer)
    path = found.save(tmp_path / "answer")
    if family in ("least", "own draws"):
        with pytest.raises(ValueError, match=r"or put it into `duda.predictions.PREDICTIONS`"):
            type(found).load(path)
        monkeypatch.setitem(PREDICTIONS, type(answer).__name__, type(answer))
    assert torch.equal(type(found).load(path).score, found.score)
    assert torch.equal(load_prediction(path).score, found.score)


@pytest.mark.parametrize("family", ["least", "own draws", "student t"])
def test_scaled_predictions_are_reported(family: str, tmp_path: Path) -> None:
    answer, y = TWO[family], targets(TWO[family])
    scaled = StdScale().fit(answer, y)(answer)
    page = duda.report({"as it is": answer, "scaled": scaled}, y).save(tmp_path / "report.html")
    assert "Do intervals" in page.read_text()


@pytest.mark.parametrize("family", ONE)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_by_each_family(name: str, family: str) -> None:
    answers, check = FUNCTIONS[name]
    if (name, family) in LACKING:
        with pytest.raises((TypeError, ValueError), match=LACKING[name, family]):
            check(answers[family])
    else:
        check(answers[family])
