from __future__ import annotations

import math

import pytest
import torch

from duda import ClassPrediction, LaplacianPrediction, evaluation
from duda.reporting import METRICS, measure
from tests.reporting.conftest import class_prediction, number_prediction, quantile_prediction


def test_classes_get_the_numbers_of_evaluation(labels):
    answer, other = class_prediction(0), class_prediction(1, examples=30)
    found = measure(answer, labels, other)
    wrong = answer.labels != labels
    scores = torch.cat([answer.score, other.score])
    assert found == {
        "accuracy": evaluation.accuracy(answer.probs, labels),
        "nll": pytest.approx(evaluation.nll(answer.probs, labels)),
        "brier": pytest.approx(evaluation.brier(answer.probs, labels)),
        "ece": pytest.approx(evaluation.reliability(answer.probs, labels).ece),
        "auroc_ood": evaluation.rank(scores, [0] * 60 + [1] * 30).auroc,
        "auroc_errors": evaluation.rank(answer.score, wrong).auroc,
    }


def test_numbers_get_the_numbers_of_evaluation(targets):
    answer = number_prediction(0)
    inside = (targets >= answer.interval(0.95)[0]) & (targets <= answer.interval(0.95)[1])
    assert measure(answer, targets) == {
        "rmse": evaluation.rmse(answer.mean, targets),
        "nll": evaluation.density_nll(answer, targets),
        "coverage": pytest.approx(float(inside.double().mean())),
    }


def test_another_family_has_its_own_density(targets):
    gaussian = number_prediction(0)
    answer = LaplacianPrediction(gaussian.mean, gaussian.aleatoric, gaussian.epistemic)
    found = measure(answer, targets)
    assert found["rmse"] == measure(gaussian, targets)["rmse"]
    assert found["nll"] == pytest.approx(-float(answer.log_prob(targets).mean()))
    assert found["nll"] != measure(gaussian, targets)["nll"]


def test_quantiles_get_the_numbers_of_evaluation(targets):
    answer = quantile_prediction(0)
    inside = (targets >= answer.quantiles[:, 0]) & (targets <= answer.quantiles[:, -1])
    assert measure(answer, targets, answer) == {
        "rmse": evaluation.rmse(answer.quantiles[:, 2], targets),
        "pinball": pytest.approx(evaluation.pinball(answer, targets), rel=1e-15),
        "coverage": pytest.approx(float(inside.double().mean())),
        "width": pytest.approx(float((answer.quantiles[:, -1] - answer.quantiles[:, 0]).mean())),
        "auroc_ood": 0.5,
    }


def test_a_narrower_interval_is_set_against_its_own_promise(targets):
    answer = quantile_prediction(0, (0.1, 0.5, 0.7))  # 0.3 to 0.7 is what they allow
    share = float(evaluation.coverage(answer, targets, [0.4]).observed)
    found = measure(answer, targets)
    assert "coverage" not in found
    assert found["coverage_surplus"] == pytest.approx(share - 0.4)
    metric = METRICS["coverage_surplus"]
    assert metric.badness(-0.02) < metric.badness(0.1)
    assert metric.direction == "0 % is right"


def test_without_errors_there_is_no_auroc_of_errors():
    answer = ClassPrediction.from_probs([[0.9, 0.1], [0.2, 0.8]])
    assert math.isnan(measure(answer, [0, 1])["auroc_errors"])
    assert math.isnan(measure(answer, [1, 0])["auroc_errors"])


def test_labels_of_another_shape_are_refused():
    answer = ClassPrediction.from_probs([[0.9, 0.1], [0.2, 0.8]])
    with pytest.raises(ValueError, match=r"`y` has shape \(2, 1\), expected \(2,\)"):
        measure(answer, [[0], [1]])


def test_what_is_no_prediction_is_refused():
    with pytest.raises(TypeError, match="expected a ClassPrediction, a Gauss"):
        measure(torch.zeros(3, 2), [0, 1, 0])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "better", "worse"),
    [("accuracy", 0.9, 0.8), ("nll", -1.0, 0.5), ("coverage", 0.94, 0.99), ("rmse", 1.0, 2.0)],
)
def test_badness_follows_the_direction(name, better, worse):
    assert METRICS[name].badness(better) < METRICS[name].badness(worse)
