"""Maps of a number over the plane, with the training examples that it grew from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import check_finite
from duda.plots.canvas import BAD, GOOD, MUTED, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plane"]

_PALE = "Greys"  # so that two classes of points stand out, also for the color-blind


def plane(
    grid: Float[Tensor, "H W 2"],
    values: Float[Tensor, "H W"],
    points: Float[Tensor, "N 2"],
    labels: Int[Tensor, "N"],
    *,
    highest: float | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw `values`, from white at 0 to black, and above them examples of two classes.

    Args:
        grid: places on a rectangle, ascending; the first number is drawn to the right.
        values: a number of at least 0 for each.
        points: where the examples lie; outside of the rectangle they are not shown.
        labels: 0 or 1.
        highest: the value that is black; by default the largest there is.
        title: above the map.
        ax: where to draw; by default on a new figure.

    Raises:
        ValueError: if there is not one value for each place, or it is negative or not finite, if
            places do not ascend, or a label is neither 0 nor 1.

    >>> import torch
    >>> grid = torch.stack(torch.meshgrid(torch.arange(3.0), torch.arange(2.0), indexing="xy"), -1)
    >>> plane(grid, torch.ones(2, 3), grid[0], torch.tensor([0, 1, 1]), title="flat").get_title()
    'flat'
    """
    _check_map(grid, values)
    _check_labels(labels)
    ax = canvas(ax, title, "", "")
    ax.pcolormesh(
        grid[..., 0].numpy(),
        grid[..., 1].numpy(),
        values.numpy(),
        cmap=_PALE,
        vmin=0,
        vmax=highest,
        shading="nearest",
        rasterized=True,
    )
    for label, color, marker in ((0, GOOD, "o"), (1, BAD, "^")):
        x, y = points[labels == label].unbind(1)
        ax.scatter(x.numpy(), y.numpy(), s=3, color=color, marker=marker, linewidths=0)
    ax.spines[:].set(visible=True, color=MUTED)  # white maps end somewhere, too
    ax.set(aspect="equal", xticks=[], yticks=[])
    left, right = grid[0, 0, 0], grid[0, -1, 0]
    low, high = grid[0, 0, 1], grid[-1, 0, 1]
    ax.set(xlim=(float(left), float(right)), ylim=(float(low), float(high)))
    return ax


def _check_map(grid: Float[Tensor, "H W 2"], values: Float[Tensor, "H W"]) -> None:
    if grid.shape != (*values.shape, 2):
        raise ValueError(
            f"`values` has shape {tuple(values.shape)}, expected {tuple(grid.shape[:-1])}, one "
            "for each place of `grid`: call `values.reshape(grid.shape[:-1])`."
        )
    check_finite(values, "values")
    if not bool((values >= 0).all()):
        raise ValueError(
            f"`values` are from {float(values.min()):.4g}, expected numbers of at least 0."
        )
    if not bool((grid[..., 0].diff(dim=1) > 0).all() and (grid[..., 1].diff(dim=0) > 0).all()):
        raise ValueError(
            "`grid` does not ascend to the right by its first numbers and upwards by its second "
            'ones: make it by `torch.meshgrid(x, y, indexing="xy")` of ascending numbers.'
        )


def _check_labels(labels: Int[Tensor, "N"]) -> None:
    if not bool(((labels == 0) | (labels == 1)).all()):
        raise ValueError(
            f"`labels` lies in [{labels.min()}, {labels.max()}], expected 0 or 1: there are two "
            "colors of points."
        )
