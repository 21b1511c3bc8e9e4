"""Ellipses about what is predicted of two numbers together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from duda.plots.canvas import BAD, GOOD, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ellipses"]

_POINTS = 73  # of an ellipse, one every five degrees


def ellipses(
    center: Float[Tensor, "N 2"],
    axes: Float[Tensor, "N 2 2"],
    y: Float[Tensor, "N 2"] | None = None,
    *,
    level: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw an ellipse for each example, and its target if there is one.

    Args:
        center: of the ellipses.
        axes: their half axes, as columns.
        y: targets.
        level: the probability that an ellipse holds its target, for the legend.
        ax: where to draw; by default on a new figure.

    >>> ellipses(torch.zeros(1, 2), torch.eye(2)[None], level=0.9).get_legend_handles_labels()[1]
    ['90 %']
    """
    ax = canvas(ax, "Ellipses", "first output", "second output")
    angle = torch.linspace(0, 2 * torch.pi, _POINTS, dtype=torch.float64, device=center.device)
    circle = torch.stack([angle.cos(), angle.sin()])
    lines = (center.double().unsqueeze(2) + axes.double() @ circle).detach().cpu()
    name = None if level is None else f"{100 * level:g} %"
    for number, (first, second) in enumerate(lines.numpy()):
        ax.plot(first, second, color=GOOD, lw=1, alpha=0.7, label=None if number else name)
    if y is not None:
        first, second = y.detach().cpu().T.numpy()
        ax.plot(first, second, ".", color=BAD, label="targets")
    if name is not None:
        ax.legend(frameon=False)
    return ax
