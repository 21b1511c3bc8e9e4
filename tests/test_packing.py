"""Several tensors as one: what comes out is what went in, whatever else was packed before."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.func import vmap

from duda.packing import apart, by_name, packed

NAMES = ("a", "b")
SHAPES = st.lists(st.lists(st.integers(1, 3), max_size=3), min_size=2, max_size=2)
KINDS = st.lists(st.sampled_from([torch.float32, torch.int64, torch.bool]), min_size=2, max_size=2)


def some(shape: list[int], dtype: torch.dtype) -> Tensor:
    values = 2**20 * torch.randn(5, *shape)
    return values > 0 if dtype == torch.bool else values.to(dtype)


@given(shapes=SHAPES, dtypes=KINDS)
def test_targets_come_back(shapes: list[list[int]], dtypes: list[torch.dtype]) -> None:
    parts = dict(zip(NAMES, map(some, shapes, dtypes), strict=True))
    whole = packed(parts, exact=True)
    assert whole.shape[0] == 5
    assert whole.ndim == 2
    rows = apart(whole[[3, 1]], NAMES)
    for name, each in parts.items():
        assert rows[name].dtype == (torch.float64 if each.is_floating_point() else each.dtype)
        assert torch.equal(rows[name], each[[3, 1]].to(rows[name].dtype))


def test_the_same_width_of_other_shapes_is_told_apart() -> None:
    tall = {"a": torch.rand(2, 4, 6), "b": torch.rand(2, 3)}
    wide = {"a": torch.rand(2, 6, 4), "b": torch.rand(2, 3)}
    other = {"a": torch.rand(2, 6, 4), "b": torch.rand(2, 3, 1)}
    kept = [packed(each) for each in (tall, wide, other, tall)]
    assert len({each.shape[1] for each in kept}) == 3
    for whole, parts in zip(kept, (tall, wide, other, tall), strict=True):
        found = apart(whole, NAMES)
        assert all(torch.equal(found[name], parts[name]) for name in NAMES)


def test_draws_come_first_and_gradients_flow() -> None:
    a, b = torch.rand(7, 5, 3, requires_grad=True), torch.rand(7, 5, requires_grad=True)
    both = vmap(lambda a, b: packed({"a": a, "b": b}))(a, b)
    found = apart(both, NAMES, dim=2)
    assert torch.equal(found["a"], a)
    assert torch.equal(found["b"], b)
    found["b"].sum().backward()
    assert torch.equal(b.grad, torch.ones_like(b))


def test_what_was_not_packed_is_told() -> None:
    with pytest.raises(LookupError, match=r"\('c', 'd'\) was packed like \(5, 3\)"):
        apart(torch.zeros(5, 3), ("c", "d"))


class Named:
    def __init__(self) -> None:
        self.a, self.b = torch.zeros(2), torch.ones(2)


@pytest.mark.parametrize(
    "given",
    [
        {"c": None, "b": torch.ones(2), "a": torch.zeros(2)},
        (torch.zeros(2), torch.ones(2)),
        Named(),
    ],
)
def test_outputs_have_names_or_an_order(given: object) -> None:
    found = by_name(given, NAMES, "outputs")
    assert list(found) == list(NAMES)
    assert torch.equal(found["b"], torch.ones(2))


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"a": torch.zeros(2)}, ValueError, "outputs are 'a', expected 'a' and 'b': 'b' is miss"),
        ({}, ValueError, "outputs are a dict, expected 'a' and 'b': 'a' and 'b' are missing"),
        ((torch.zeros(2),), ValueError, "outputs are 1 without names, .*'b' is missing"),
        ([torch.zeros(2)] * 3, ValueError, "outputs are 3, expected 2: 'a' and 'b' in this order"),
        (torch.zeros(2), ValueError, r"are one tensor of shape \(2,\), .*'a' and 'b' are missing"),
        ((torch.zeros(2), None), TypeError, "have a NoneType as 'b', expected a tensor"),
        ((torch.zeros(2), torch.zeros(3)), ValueError, r"shapes \(2,\) and \(3,\), expected the s"),
        ((torch.zeros(2), torch.zeros(())), ValueError, "expected the same examples"),
    ],
)
def test_what_is_missing_is_named(given: object, error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        by_name(given, NAMES, "outputs")
