"""Labels that are words: which numbers they get, and what is said of those that get none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from duda.class_names import ClassNames, check_names
from tests.tables import Table

WORDS = ["dog", "cat", "eel", "cat"]


@pytest.mark.parametrize(
    "y",
    [
        WORDS,
        tuple(WORDS),
        np.array(WORDS),
        np.array(WORDS, dtype=object),
        np.array(WORDS, dtype=np.dtypes.StringDType()),
        Table(np.array(WORDS, dtype=object)),
    ],
    ids=["list", "tuple", "array", "objects", "strings", "series"],
)
def test_words_get_numbers_in_alphabetical_order(y: Any) -> None:
    names = ClassNames()
    assert names.coded(y, "y").tolist() == [1, 0, 2, 0]
    assert names.known == ("cat", "dog", "eel")
    assert names.coded(["eel", "dog"], "y").tolist() == [2, 1]


def test_words_at_positions_and_in_a_given_order() -> None:
    names = ClassNames(["eel", "dog", "cat", "ant"])
    assert names.coded([WORDS, WORDS], "y").tolist() == [[1, 2, 0, 2]] * 2


@pytest.mark.parametrize("y", [torch.tensor([1, 0]), np.array([0.5]), [1, 2], None, [True], []])
def test_what_are_no_words_stays(y: Any) -> None:
    names = ClassNames()
    assert names.coded(y, "y") is y
    assert names.known is None


@pytest.mark.parametrize("lost", [None, float("nan"), 3])
def test_labels_that_are_lost_are_counted(lost: Any) -> None:
    for y in (["a", lost, "b", lost], np.array(["a", lost, "b", lost], dtype=object)):
        with pytest.raises(ValueError, match=r"`y of data` has 2 labels that are no words"):
            ClassNames().coded(y, "y of data")


def test_words_that_are_none_of_the_classes_are_told() -> None:
    with pytest.raises(ValueError, match="`y` holds an unknown class 'dogs': did you mean 'dog'"):
        ClassNames(["cat", "dog"]).coded(["cat", "dogs"], "y")
    with pytest.raises(ValueError, match=r"a batch does not tell .*`model.classes = "):
        ClassNames().coded(["cat", "dog"], "y", whole=False)


@pytest.mark.parametrize("names", [["a"], ["a", "b", "a"], [], "ab", ["a", 1]])
def test_names_are_some_and_different(names: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="`classes` "):
        check_names(names)
