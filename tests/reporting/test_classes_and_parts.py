"""Tables of classes, and both parts of uncertainty."""

from __future__ import annotations

import pytest
import torch

from duda import ClassPrediction
from duda.likelihoods import Categorical
from duda.reporting import report
from duda.reporting.sections.classes import class_rows
from duda.reporting.sections.parts import parts_chart, parts_of
from duda.reporting.theme import Style
from tests.reporting.conftest import class_prediction, number_prediction, quantile_prediction


def test_rows_are_what_counting_class_by_class_gives(labels):
    prediction = class_prediction(0)
    for label, row in enumerate(class_rows(prediction, labels, "abcd")):
        own = labels == label
        right = prediction.labels[own] == label
        assert row.count == int(own.sum())
        assert row.accuracy == pytest.approx(float(right.double().mean()))
        assert row.confidence == pytest.approx(float(prediction.confidence[own].mean()))
        assert row.surplus == pytest.approx(row.confidence - row.accuracy)
        assert row.entropy == pytest.approx(float(prediction.entropy[own].mean()))
        mistakes = prediction.labels[own][~right].bincount(minlength=4)
        assert row.taken_for == f"{'abcd'[int(mistakes.argmax())]} ({int(mistakes.max())})"


def test_a_class_without_examples_has_no_row_and_one_without_mistakes_no_confusion():
    prediction = ClassPrediction.from_probs([[0.9, 0.05, 0.05]])
    [row] = class_rows(prediction, [0], ("a", "b", "c"))
    assert (row.name, row.taken_for) == ("a", "")


def drawn(seed: int) -> ClassPrediction:
    reduction = Categorical().reduction()
    random = torch.Generator().manual_seed(seed)
    reduction.add(torch.randn(5, 60, 4, generator=random))
    return reduction.result()


def test_one_draw_has_no_second_part():
    assert parts_of(class_prediction(0)) is None
    assert parts_of(quantile_prediction(0)) is None
    assert parts_of(drawn(0)) is not None


def test_parts_of_numbers_are_standard_deviations():
    prediction = number_prediction(0)
    parts = parts_of(prediction)
    total = (parts.aleatoric.square() + parts.epistemic.square()).sqrt()
    torch.testing.assert_close(total, prediction.std.flatten().double())


def test_every_example_has_a_dot_in_its_group(labels):
    prediction = drawn(0)
    bad = prediction.labels != labels
    figure = parts_chart(parts_of(prediction), bad, parts_of(drawn(1)), Style("#0072B2"))
    counts = {trace.name: len(trace.x) for trace in figure.data}
    assert counts == {
        "OOD": 60,
        "right": int((~bad).sum()),
        "wrong": int(bad.sum()),
    }


def test_the_section_is_there_where_a_method_tells_the_parts_apart(labels):
    titles = [s.title for s in report({"a": drawn(0), "b": class_prediction(0)}, labels).sections]
    assert "Noise, or ignorance?" in titles
    alone = [s.title for s in report({"b": class_prediction(0)}, labels).sections]
    assert "Noise, or ignorance?" not in alone
