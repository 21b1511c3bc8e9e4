"""Multi-label metrics against scikit-learn, with unknown labels, and label by label."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn import metrics
from torch import Tensor

from duda import BernoulliPrediction, evaluation

N, LABELS = 60, 4


def data(*positions: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    probs = torch.rand(N, LABELS, *positions, generator=generator).double()
    probs = (probs * 8).round() / 8  # with ties
    return probs, torch.bernoulli(0.2 + 0.6 * probs, generator=generator).long()


@pytest.mark.parametrize("threshold", [0.5, 0.3])
@pytest.mark.parametrize("given", ["arrays", "prediction"])
def test_metrics_are_those_of_scikit_learn(given: str, threshold: float) -> None:
    probs, y = data()
    source = probs if given == "arrays" else BernoulliPrediction.from_probs(probs)
    found = evaluation.multilabel(source, y, threshold=threshold)
    said, true = (probs >= threshold).long().numpy(), y.numpy()
    scores = metrics.precision_recall_fscore_support(true, said)
    for mine, theirs in zip((found.precision, found.recall, found.f1), scores, strict=False):
        torch.testing.assert_close(mine, torch.tensor(theirs))
    assert found.macro_f1 == pytest.approx(metrics.f1_score(true, said, average="macro"))
    assert found.micro_f1 == pytest.approx(metrics.f1_score(true, said, average="micro"))
    assert found.hamming_loss == pytest.approx(metrics.hamming_loss(true, said))
    assert found.subset_accuracy == pytest.approx(metrics.accuracy_score(true, said))
    expected = metrics.average_precision_score(true, probs.numpy(), average=None)
    torch.testing.assert_close(found.average_precision, torch.tensor(expected))
    assert found.mean_average_precision == pytest.approx(expected.mean())


@pytest.mark.parametrize("positions", [(), (3,)], ids=str)
def test_unknown_labels_are_left_out(positions: tuple[int, ...]) -> None:
    probs, y = data(*positions)
    y[::3, 1], y[5] = -1, -1
    found = evaluation.multilabel(probs, y, ignore_index=-1)
    masked = evaluation.multilabel(probs, y.clamp(min=0), mask=y != -1)
    for label in range(LABELS):
        known = y[:, label] != -1
        alone = evaluation.multilabel(probs[:, label][known][:, None], y[:, label][known][:, None])
        for each in (found, masked):
            assert int(each.counted[label]) == int(known.sum())
            assert each.f1[label] == alone.f1[0]
            assert each.average_precision[label] == pytest.approx(float(alone.average_precision[0]))
    wrong = ((probs >= 0.5).long() != y) & (y != -1)
    some = (y != -1).any(1)
    assert found.subset_accuracy == pytest.approx(float((~wrong.any(1))[some].double().mean()))


def test_labels_that_never_hold_have_no_recall() -> None:
    found = evaluation.multilabel([[0.9, 0.1], [0.2, 0.3]], [[1, 0], [0, 0]])
    assert math.isnan(found.recall[1])
    assert math.isnan(found.average_precision[1])
    assert (found.macro_f1, found.mean_average_precision) == (1, 1)


def test_each_label_has_its_reliability() -> None:
    probs, y = data()
    answer = BernoulliPrediction.from_probs(probs)
    for label in (0, 3, -1):
        one = answer.of_label(label)
        torch.testing.assert_close(one.probs[:, 1], probs[:, label])
        pair = torch.stack([1 - probs[:, label], probs[:, label]], 1)
        found = evaluation.reliability(one, y[:, label], kind="binary").ece
        assert found == pytest.approx(evaluation.reliability(pair, y[:, label], kind="binary").ece)
    with pytest.raises(IndexError, match="`number` is 4, expected a label of 4"):
        answer.of_label(4)


def test_what_fits_no_label_is_told() -> None:
    probs, y = data()
    with pytest.raises(ValueError, match="a class for each example"):
        evaluation.multilabel(probs, y.argmax(1))
    with pytest.raises(ValueError, match="`y` holds 2, expected booleans or 0 and 1"):
        evaluation.multilabel(probs, y * 2)
