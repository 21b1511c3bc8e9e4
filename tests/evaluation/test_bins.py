import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from duda.evaluation.bins import Bins


@settings(deadline=None)
@given(st.integers(1, 3000), st.lists(st.floats(0, 1.001), min_size=1, max_size=20))
def test_multiplying_is_searching(bins, values):
    scale = Bins.of_equal_width(bins)
    near = [scale.edges, scale.edges.nextafter(torch.tensor(0.0, dtype=torch.float64))]
    near = torch.cat([*near, torch.tensor(values, dtype=torch.float64)]).clamp(0)
    expected = torch.bucketize(near, scale.edges[1:-1], right=True)
    assert torch.equal(scale.index(near), expected)


@pytest.mark.parametrize("bins", [49, 98, 1000])
def test_edges_that_a_plain_product_misses(bins):
    edges = torch.arange(bins, dtype=torch.float64) / bins
    assert Bins.of_equal_width(bins).index(edges).tolist() == list(range(bins))


def test_one_quantile_bin_holds_all():
    scale = Bins.of_equal_counts(torch.tensor([0.2, 0.4]), 1)
    assert scale.edges.tolist() == [0, 1]
    classwise = Bins.of_equal_counts(torch.tensor([[0.2, 0.8], [0.4, 0.6]]), 1)
    assert classwise.edges.tolist() == [[0, 1], [0, 1]]
    assert classwise.index(torch.tensor([[0.2, 0.8]], dtype=torch.float64)).tolist() == [[0, 0]]
