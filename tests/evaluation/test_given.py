"""What a prediction gives in place of arrays, and what is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from duda import ClassPrediction, GaussianPrediction, QuantilePrediction, ScoredClassPrediction
from duda.evaluation import accuracy_above, ood, selective, sharpness, sparsification, spread
from duda.evaluation.given import (
    confidence_and_hits,
    score_and_error,
    score_and_loss,
    scores_of_both,
    std_and_error,
    std_of,
)

CLASSES = ClassPrediction.from_probs([[0.7, 0.3], [0.4, 0.6]])
NUMBERS = GaussianPrediction([[0.0], [1.0]], [[4.0], [1.0]])
QUANTILES = QuantilePrediction([[[-1.0], [0.0], [1.0]]], [0.1, 0.5, 0.9])


def test_arrays_pass_as_they_are() -> None:
    values, others = [1.0, 2.0], [0.0, 1.0]
    assert std_of(values, "") is values
    for both in (
        score_and_loss(values, others),
        score_and_error(values, others),
        std_and_error(values, others, ""),
        confidence_and_hits(values, others, ""),
        scores_of_both(values, others),
    ):
        assert both[0] is values
        assert both[1] is others


def test_predictions_answer_for_themselves() -> None:
    std, error = std_and_error(NUMBERS, [[3.0], [0.5]], "")
    assert torch.equal(std, NUMBERS.std)
    assert error.tolist() == [[-3.0], [0.5]]
    assert score_and_error(NUMBERS, [[3.0], [0.5]])[1].tolist() == [[3.0], [0.5]]
    score, loss = score_and_loss(CLASSES, [0, 0])
    assert torch.equal(score, CLASSES.entropy)
    assert loss.tolist() == score_and_error(CLASSES, [0, 0])[1].tolist() == [0.0, 1.0]
    confidence, hits = confidence_and_hits(CLASSES, [0, 0], "")
    assert torch.equal(confidence, CLASSES.confidence)
    assert hits.tolist() == [True, False]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: selective(CLASSES, CLASSES.labels != 0), "`loss` holds truth values beside a Cl"),
        (lambda: sparsification(CLASSES, [True, False]), "`error` holds truth values"),
        (lambda: accuracy_above(CLASSES, [True, True]), "`correct` holds truth values"),
        (lambda: accuracy_above(NUMBERS, [0, 0]), "`confidence` is a GaussianPrediction.* call"),
        (
            lambda: spread(QUANTILES, [[0.0]]),
            r"no `std`.* call `evaluation.coverage\(pred",
        ),
        (lambda: spread(CLASSES, [0, 0]), "`std` is a ClassPrediction, .* call `evaluation.cov"),
        (lambda: sharpness(QUANTILES), "has no `std`.* call `evaluation.interval_width"),
        (lambda: ood(CLASSES, NUMBERS), "`id_scores` scores by entropy and `ood_scores` by stand"),
    ],
)
def test_what_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


def test_own_scores_are_no_entropies() -> None:
    own = ScoredClassPrediction.from_prediction(CLASSES, [1.0, 2.0])
    assert ood(own, own).auroc == 0.5
    assert ood(CLASSES, [9.0, 9.0]).auroc == 1
    with pytest.raises(TypeError, match="expected both alike: predict both with one model"):
        ood(own, CLASSES)
