import matplotlib.pyplot as plt
import pytest
import torch

from duda.plots.canvas import BAD, GOOD
from duda.plots.plane import plane

GRID = torch.stack(
    torch.meshgrid(torch.linspace(-1, 1, 5), torch.linspace(0, 1, 3), indexing="xy"), dim=-1
)
POINTS, LABELS = torch.tensor([[0.0, 0.2], [0.5, 0.8], [-0.5, 0.9]]), torch.tensor([0, 1, 1])


def test_the_map_shows_the_values_at_their_places():
    values = torch.arange(15.0).reshape(3, 5)
    ax = plane(GRID, values, POINTS, LABELS)
    mesh = ax.collections[0]
    assert mesh.get_array().shape == (3, 5)
    assert torch.equal(torch.from_numpy(mesh.get_array().data), values)
    assert mesh.get_clim() == (0, 14)
    assert (ax.get_xlim(), ax.get_ylim()) == ((-1, 1), (0, 1))


def test_examples_lie_above_it_by_class():
    ax = plane(GRID, torch.zeros(3, 5), POINTS, LABELS, highest=2.0)
    assert ax.collections[0].get_clim() == (0, 2)
    for points, label, color in zip(ax.collections[1:], (0, 1), (GOOD, BAD), strict=True):
        assert torch.equal(torch.tensor(points.get_offsets()).float(), POINTS[label == LABELS])
        assert plt.matplotlib.colors.to_hex(points.get_facecolor()[0]).upper() == color


def test_it_draws_where_it_is_told():
    _, ax = plt.subplots()
    assert plane(GRID, torch.zeros(3, 5), POINTS, LABELS, title="here", ax=ax) is ax
    assert ax.get_title() == "here"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.zeros(15), r"`values` has shape \(15,\), expected \(3, 5\)"),
        (torch.full((3, 5), -0.1), r"`values` are from -0.1"),
        (torch.full((3, 5), torch.nan), r"`values` has 15 NaN and 0 infinite"),
        (torch.full((3, 5), torch.inf), r"`values` has 0 NaN and 15 infinite"),
    ],
)
def test_what_is_no_map(values, message):
    with pytest.raises(ValueError, match=message):
        plane(GRID, values, POINTS, LABELS)


@pytest.mark.parametrize("grid", [GRID.flip(0), GRID.flip(1), GRID.flip(2)])
def test_places_in_another_order(grid):
    with pytest.raises(ValueError, match="`grid` does not ascend"):
        plane(grid, torch.zeros(3, 5), POINTS, LABELS)


def test_labels_of_more_classes():
    with pytest.raises(ValueError, match=r"`labels` lies in \[1, \d\], expected 0 or 1"):
        plane(GRID, torch.zeros(3, 5), POINTS, LABELS + 1)
