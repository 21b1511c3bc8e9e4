"""Point clouds drawn from above, and as a page to turn in the browser."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import check_count, check_finite
from duda.plots.canvas import canvas
from duda.renamed import OldAttribute, renamed, renamed_arguments

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Coloring", "TurnableCloud", "from_above"]

if not TYPE_CHECKING:
    __getattr__ = renamed(__name__, {"Colouring": "duda.plots.clouds.Coloring"})


@dataclass(frozen=True, eq=False)
class Coloring:
    """Groups of points, each with a name and a color.

    Args:
        groups: the group of each point.
        names: of the groups.
        colors: of the groups: red, green, blue in [0, 1].
    """

    groups: Int[Tensor, "P"]
    names: Sequence[str]
    colors: Float[Tensor, "G 3"]
    colours = OldAttribute("colors")

    def __post_init__(self) -> None:
        count = len(self.names)
        if self.colors.shape != (count, 3):
            raise ValueError(
                f"`colors` has shape {tuple(self.colors.shape)}, expected {(count, 3)}, red, "
                "green and blue for each of the names."
            )
        if bool(((self.groups < 0) | (self.groups >= count)).any()):
            raise ValueError(
                f"`groups` lies in [{self.groups.min()}, {self.groups.max()}], expected 0 to "
                f"{count - 1}, since there are {count} names."
            )

    @classmethod
    def steps(
        cls, values: Float[Tensor, "P"], highest: float, count: int = 10, cmap: str = "inferno_r"
    ) -> Self:
        """Return groups for `count` equal steps from 0 to `highest`, in which all above it count.

        Raises:
            ValueError: if values are negative or not finite, or `highest` is not above 0.

        >>> Coloring.steps(torch.tensor([0.0, 0.9, 7.0]), highest=1.0, count=2).groups
        tensor([0, 1, 1])
        """
        import matplotlib as mpl

        check_finite(values, "values")
        count = check_count(count, "count")
        if not 0 < highest < math.inf or bool((values < 0).any()):
            raise ValueError(
                f"`highest` is {highest!r} and the lowest of `values` {values.min():.4g}, expected "
                "a finite number above 0, and values from 0 up."
            )
        width = highest / count
        groups = (values / width).floor().long().clamp(max=count - 1)
        ends = [f"{width * step:.3g}" for step in range(count)]
        names = [*(f"{low} to {high}" for low, high in pairwise(ends)), f"above {ends[-1]}"]
        colors = mpl.colormaps[cmap](np.linspace(0.05, 0.92, count))[:, :3]
        return cls(groups, names, torch.from_numpy(colors).float())

    def __getitem__(self, which: slice | Tensor) -> Self:
        """Return the coloring of some of the points."""
        return replace(self, groups=self.groups[which])


@renamed_arguments(colouring="coloring")
def from_above(
    points: Float[Tensor, "P D"],
    coloring: Coloring,
    reach: tuple[float, float],
    ax: Axes | None = None,
) -> Axes:
    """Draw points, ahead (x) to the right and left (y) up the page, high ones (z) over low ones.

    Args:
        points: x, y, z in metres, and whatever else.
        coloring: of the points; the legend names the groups that are seen.
        reach: how far to show points ahead and behind, and on both sides, in metres.
        ax: where to draw, by default in a new figure.

    >>> some = Coloring(torch.tensor([0, 1]), ["road", "car"], torch.zeros(2, 3))
    >>> ax = from_above(torch.tensor([[1.0, 0, 0], [99, 0, 0]]), some, reach=(50, 20))
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['road']
    """
    from matplotlib.patches import Patch

    _check_points(points, coloring)
    ax = canvas(ax, "", "ahead, m", "left, m")
    near = (points[:, :2].abs() <= torch.tensor(reach)).all(1).nonzero().flatten()
    near = near[points[near, 2].argsort()]
    groups = coloring.groups[near]
    x, y = points[near, :2].numpy().T
    ax.scatter(x, y, s=0.8, c=coloring.colors[groups].numpy(), linewidths=0, rasterized=True)
    ax.set(xlim=(-reach[0], reach[0]), ylim=(-reach[1], reach[1]), aspect="equal")
    shown = sorted(set(groups.tolist()))
    shades = coloring.colors.numpy()
    patches = [Patch(facecolor=tuple(shades[g]), label=coloring.names[g]) for g in shown]
    ax.legend(
        handles=patches, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=8
    )
    return ax


class TurnableCloud:
    """Points to turn and zoom in a browser, with a button for each way to color them.

    A notebook or a page of Sphinx-Gallery shows it where it is the last value of a cell. The
    drawing code is inside, so it opens without a network.

    Args:
        points: x, y, z in metres, and whatever else.
        colorings: by the name on their button, the first one shown at first.

    >>> cloud = TurnableCloud(
    ...     torch.rand(5, 3),
    ...     {"truth": Coloring(torch.tensor([0, 0, 1, 1, 1]), ["road", "car"], torch.eye(3)[:2])},
    ... )
    >>> [trace.name for trace in cloud.figure.data]
    ['road', 'car']
    """

    @renamed_arguments(colourings="colorings")
    def __init__(self, points: Float[Tensor, "P D"], colorings: Mapping[str, Coloring]) -> None:
        from plotly.graph_objects import Figure

        self.figure = Figure()
        owners = []
        for button, coloring in colorings.items():
            for trace in _traces(points, coloring):
                trace.visible = button == next(iter(colorings))
                self.figure.add_trace(trace)
                owners.append(button)
        shown = {name: [owner == name for owner in owners] for name in colorings}
        self.figure.update_layout(**_layout(shown))

    def _repr_html_(self) -> str:
        html: str = self.figure.to_html(full_html=False, include_plotlyjs=True)
        return html


def _check_points(points: Tensor, coloring: Coloring) -> None:
    if len(points) != len(coloring.groups):
        raise ValueError(
            f"`points` has {len(points)} points, but `coloring` has groups for "
            f"{len(coloring.groups)}, expected as many."
        )


def _traces(points: Tensor, coloring: Coloring) -> list[Any]:
    """Return one trace for each group that has points, so that the legend can hide it."""
    from plotly.graph_objects import Scatter3d

    _check_points(points, coloring)
    found = []
    for group in sorted(set(coloring.groups.tolist())):
        x, y, z = points[coloring.groups == group, :3].float().numpy().T
        red, green, blue = (255 * coloring.colors[group]).round().int().tolist()
        found.append(
            Scatter3d(
                x=x,
                y=y,
                z=z,
                mode="markers",
                marker={"size": 1.5, "color": f"rgb({red}, {green}, {blue})"},
                name=coloring.names[group],
                hoverinfo="name",
            )
        )
    return found


def _layout(shown: Mapping[str, list[bool]]) -> dict[str, Any]:
    buttons = [
        {"label": name, "method": "update", "args": [{"visible": visible}]}
        for name, visible in shown.items()
    ]
    hidden = {"visible": False}
    behind = {"eye": {"x": -0.7, "y": 0, "z": 0.4}}
    return {
        "height": 520,
        "margin": {"l": 0, "r": 0, "t": 40, "b": 0},
        "scene": {
            "aspectmode": "data",
            "camera": behind,
            "xaxis": hidden,
            "yaxis": hidden,
            "zaxis": hidden,
        },
        "legend": {"itemsizing": "constant", "orientation": "h", "y": 0},
        "updatemenus": [
            {
                "type": "buttons",
                "direction": "right",
                "buttons": buttons,
                "x": 0,
                "xanchor": "left",
                "y": 1.02,
                "yanchor": "bottom",
            }
        ],
    }
