"""One sort serves all draws."""

from __future__ import annotations

import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from duda.evaluation import rank
from duda.reporting.ranked import Ranked

scores = st.one_of(st.integers(-2, 2).map(float), st.sampled_from([math.inf, -math.inf]))


@given(st.lists(st.tuples(scores, st.booleans(), st.integers(0, 3)), min_size=1, max_size=20))
def test_counts_stand_for_copies(entries: list[tuple[float, bool, int]]) -> None:
    score, is_bad, counts = map(torch.tensor, zip(*entries, strict=True))
    found = Ranked.of(score.double(), is_bad, torch.arange(len(score))).auroc(counts.numpy())
    copies = is_bad.repeat_interleave(counts)
    if bool(copies.any()) and not bool(copies.all()):
        assert found == rank(score.repeat_interleave(counts), copies).auroc
    else:
        assert math.isnan(found)


def test_an_example_is_drawn_with_all_its_positions() -> None:
    score = torch.tensor([0.1, 0.5, 0.5, 0.9], dtype=torch.float64)
    is_bad = torch.tensor([False, True, False, True])
    ranked = Ranked.of(score, is_bad, torch.tensor([0, 0, 1, 1]))
    assert ranked.auroc(np.array([1, 1])) == 0.875
    assert (
        ranked.auroc(np.array([2, 1]))
        == rank([0.1, 0.5, 0.1, 0.5, 0.5, 0.9], [0, 1, 0, 1, 0, 1]).auroc
    )


def test_the_rarer_kind_is_counted_in_examples() -> None:
    is_bad = torch.tensor([True, True, False, True, False, False])
    ranked = Ranked.of(torch.zeros(6), is_bad, torch.tensor([0, 0, 0, 1, 1, 2]))
    assert ranked.fewest == 2  # two examples hold something bad, all three something good
    assert Ranked.of(torch.zeros(1), torch.tensor([True]), torch.tensor([0])).fewest == 0
