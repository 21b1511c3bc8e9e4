"""Masks from random bits have the law of dropout."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from duda.sampling.calls import drop as drop_by_stream
from duda.streams import Stream


def drop(x: Tensor, mask_shape: tuple[int, ...], p: float, seed: int = 0) -> Tensor:
    return drop_by_stream(x, mask_shape, p, Stream(torch.tensor(seed)))


@pytest.mark.parametrize("p", [0.5, 0.25, 1 / 256, 0.1, 0.3, 0.9, 1e-3])
def test_share_of_zeros_is_p(p: float) -> None:
    n = 2_000_000
    zeros = int((drop(torch.ones(n), (n,), p) == 0).sum())
    assert stats.binomtest(zeros, n, p).pvalue > 1e-4


@given(p=st.floats(0, 1), dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
@settings(deadline=None, max_examples=50)
def test_what_stays_is_scaled_so_that_the_mean_is_right(p: float, dtype: torch.dtype) -> None:
    x = drop(torch.full((1000,), 3.0, dtype=dtype), (1000,), p)
    kept = x[x != 0].double()
    assert x.dtype == dtype
    if len(kept):
        share_met = 3.0 / float(kept[0])
        assert share_met == pytest.approx(1 - p, abs=2**-17 + 0.01 * (dtype == torch.bfloat16))
    assert (kept == kept[:1]).all()


def test_neighbours_are_independent() -> None:
    n = 1_000_000
    for p in (0.5, 0.3):
        zero = (drop(torch.ones(n), (n,), p) == 0).double() - p
        for lag in (1, 2, 3, 4, 8):
            correlation = float((zero[lag:] * zero[:-lag]).mean()) / (p * (1 - p))
            assert abs(correlation) < 5 / n**0.5


def test_a_mask_broadcasts_over_positions() -> None:
    x = drop(torch.ones(8, 16, 5, 5), (8, 16, 1, 1), 0.5)
    assert (x.amax((2, 3)) == x.amin((2, 3))).all()
    assert {0.0, 2.0} == set(x.unique().tolist())


def test_ends_are_exact_and_nothing_is_shared_with_the_input() -> None:
    x = torch.ones(4)
    whole = drop(x, (4,), 0.0)
    assert torch.equal(whole, x)
    assert whole.data_ptr() != x.data_ptr()
    assert torch.equal(drop(x, (4,), 1.0), torch.zeros(4))


def test_dropped_infinities_are_zero() -> None:
    x = drop(torch.full((1000,), torch.inf), (1000,), 0.5)
    assert set(x.tolist()) == {0.0, torch.inf}
