"""Thinned points are in order, begin with the first and end with the last."""

from hypothesis import given
from hypothesis import strategies as st

from duda.thinning import thinned


@given(st.integers(1, 10**9), st.integers(2, 1000))
def test_ends_stay_and_no_point_comes_twice(count, most):
    found = thinned(count, most)
    assert len(found) == min(count, most)
    assert (int(found[0]), int(found[-1])) == (0, count - 1)
    assert bool((found.diff() > 0).all())


def test_few_points_are_all_there():
    assert thinned(7).tolist() == list(range(7))
    assert thinned(0).tolist() == []
