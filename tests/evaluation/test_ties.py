import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from duda.evaluation.ties import tied_runs

numbers = st.one_of(st.integers(-2, 2).map(float), st.just(math.inf), st.just(-math.inf))
lists = st.lists(numbers, min_size=1, max_size=30)


@given(lists, st.booleans())
def test_runs(values, descending):
    scores = torch.tensor(values, dtype=torch.float64)
    runs = tied_runs(scores, descending=descending)
    assert runs.distinct.tolist() == sorted(set(values), reverse=descending)
    assert sorted(runs.order.tolist()) == list(range(len(values)))
    assert torch.equal(scores[runs.order[runs.ends]], runs.distinct)
    assert runs.cumulated(torch.ones(len(values), dtype=torch.bool)).tolist() == [
        sum(value >= each if descending else value <= each for value in values)
        for each in runs.distinct.tolist()
    ]


def test_zeros_are_equal():
    assert len(tied_runs(torch.tensor([0.0, -0.0])).distinct) == 1


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32])
def test_the_type_stays(dtype):
    assert tied_runs(torch.tensor([1, 0], dtype=dtype)).distinct.dtype == dtype
