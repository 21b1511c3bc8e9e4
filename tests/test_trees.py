"""Nested states come back from JSON as they were."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from duda.trees import flatten, unflatten

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(TREES)
def test_trees_come_back(tree: Any) -> None:
    tensors: dict[str, Tensor] = {}
    assert repr(unflatten(flatten(tree, tensors), tensors)) == repr(tree)
    assert not tensors
