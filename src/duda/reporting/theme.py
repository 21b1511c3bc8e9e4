"""How charts look: colours that keep their meaning, and one calm layout."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["INK", "NEUTRAL", "axis", "blank", "palette", "thinned", "translucent"]

# Told apart with any colour vision, on white and on black. Source: Okabe & Ito 2008.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
NEUTRAL = "#808080"
INK = "ink"  # as the `meta` of a line, makes the page draw it in the colour of its text

_MOST_POINTS = 500


def palette(methods: Iterable[str]) -> dict[str, str]:
    """Return a colour for each method, the same one in every chart."""
    return dict(zip(methods, cycle(_COLOURS), strict=False))


def translucent(colour: str, opacity: float) -> str:
    """Return the colour, mixed with what lies below it.

    >>> translucent("#0072B2", 0.2)
    'rgba(0,114,178,0.2)'
    """
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def thinned(count: int) -> Tensor:
    """Return the numbers of evenly spaced points among `count`, the first and last among them."""
    return torch.linspace(0, count - 1, min(count, _MOST_POINTS)).round().long()


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Return an axis of a chart, that nobody zooms by accident."""
    style = {"title": {"text": title, "standoff": 8}, "fixedrange": True, "automargin": True}
    return style | {"zeroline": False, "showline": False} | more


def blank(x: dict[str, Any], y: dict[str, Any], height: int = 300) -> Figure:
    """Return a chart with nothing in it; the page gives it the colours of its text and lines."""
    from plotly.graph_objects import Figure

    figure = Figure()
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 8, "r": 24, "t": 8, "b": 8},
        font={"size": 13, "family": "system-ui, sans-serif"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        hovermode="closest",
        xaxis=x,
        yaxis=y,
    )
    return figure
