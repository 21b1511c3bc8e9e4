from __future__ import annotations

import math

import pytest
import torch

from duda import ClassPrediction, evaluation
from duda.reporting import METRICS, measure
from tests.reporting.conftest import class_prediction, number_prediction


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


def test_without_errors_there_is_no_auroc_of_errors():
    answer = ClassPrediction.from_probs([[0.9, 0.1], [0.2, 0.8]])
    assert math.isnan(measure(answer, [0, 1])["auroc_errors"])
    assert math.isnan(measure(answer, [1, 0])["auroc_errors"])


def test_labels_of_another_shape_are_refused():
    answer = ClassPrediction.from_probs([[0.9, 0.1], [0.2, 0.8]])
    with pytest.raises(ValueError, match=r"`y` has shape \(2, 1\), expected \(2,\)"):
        measure(answer, [[0], [1]])


def test_what_is_no_prediction_is_refused():
    with pytest.raises(TypeError, match="expected a ClassPrediction or a GaussianPrediction"):
        measure(torch.zeros(3, 2), [0, 1, 0])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "better", "worse"),
    [("accuracy", 0.9, 0.8), ("nll", -1.0, 0.5), ("coverage", 0.94, 0.99), ("rmse", 1.0, 2.0)],
)
def test_badness_follows_the_direction(name, better, worse):
    assert METRICS[name].badness(better) < METRICS[name].badness(worse)
