"""Doubts about values are read together, and what was wrong first is told."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from duda import ClassPrediction
from duda.checks import check_finite
from duda.doubts import certain, doubt, doubts_together

NAN, FINE = torch.tensor([0.0, float("nan")]), torch.zeros(2)


def check(*values: Tensor, then: Exception | None = None) -> list[str]:
    """Check values by the names a, b, c together, and return what ran after that."""
    after = []
    with doubts_together():
        for name, value in zip("abc", values, strict=False):
            check_finite(value, name)
        after.append("later")
        if then is not None:
            raise then
    return after


def test_what_was_wrong_first_is_told_at_the_end() -> None:
    assert check(FINE, FINE) == ["later"]
    with pytest.raises(ValueError, match=r"`b` has 1 NaN and 0 infinite values, .* \[1\]"):
        check(FINE, NAN, NAN)


def test_what_was_wrong_before_an_error_is_its_reason() -> None:
    error = IndexError("of a network that met NaN")
    with pytest.raises(ValueError, match="`a` has 1 NaN") as told:
        check(NAN, then=error)
    assert told.value.__cause__ is error
    with pytest.raises(IndexError) as own:
        check(FINE, then=error)
    assert own.value is error


def test_an_inner_one_is_settled_by_itself_and_a_look_reads_at_once() -> None:
    told = []

    def look() -> None:
        doubt(lambda: torch.tensor(True), lambda: told.append("inside"))

    with doubts_together():
        with doubts_together():
            doubt(lambda: torch.tensor(True), look)
        assert told == ["inside"]
        with certain():
            doubt(lambda: pytest.fail("computed in vain"), look)
    assert told == ["inside"]


def test_memory_that_checks_keep_is_bounded() -> None:
    told = []
    with doubts_together():
        for number in range(3):
            doubt(lambda: torch.tensor(True), lambda n=number: told.append(n), held=2**27)
        assert told == [0, 1, 2]


def test_numbers_of_16_bits_do_not_overflow() -> None:
    with doubts_together() as doubts:
        check_finite(torch.full((9,), 60000.0, dtype=torch.float16), "a")
        assert [each.wrong(*map(float, each.numbers)) for each in doubts._found] == [False]
    check_finite(torch.full((2,), 3e38), "a")  # finite, though their sum is not


def test_several_things_wrong_with_a_prediction_are_told_as_outside() -> None:
    answer = ClassPrediction.from_probs([[0.5, 0.5]])
    fields = {"log_probs": answer.log_probs, "aleatoric": answer.aleatoric, "votes": answer.votes}
    wrong = {
        "log_probs": answer.log_probs - 1,
        "aleatoric": answer.aleatoric + 1,
        "votes": answer.votes - 1,
    }
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=f"`{name}`") as outside:
            ClassPrediction(**fields | {name: value})
        with pytest.raises(ValueError, match=f"`{name}`") as inside, doubts_together():
            ClassPrediction(**fields | {name: value})
        assert str(inside.value) == str(outside.value)
