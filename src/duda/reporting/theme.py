"""Styles of charts: each method's own, and one calm layout."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle, product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

__all__ = ["INK", "NEUTRAL", "Style", "axis", "blank", "palette", "translucent"]

# Told apart with any color vision, on white and on black. Source: Okabe & Ito 2008; the last two
# take the place of their yellow and black, each of which one of the grounds would hide.
_COLORS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#AA3311",
    "#774466",
)
_DASHES = ("solid", "dash", "dot")
_HATCHES = {"solid": "", "dash": "/", "dot": "x"}
_BORDERS = {"solid": "solid", "dash": "dashed", "dot": "dotted"}
NEUTRAL = "#808080"
_LONG = 30  # characters of a title, more than fit below a chart on a phone
INK = "ink"  # as the `meta` of a line, makes the page draw it in the color of its text


@dataclass(frozen=True)
class Style:
    """What tells a method from the others in every chart.

    Args:
        color: as `#RRGGBB`.
        dash: of lines, in plotly's words; bars are hatched where lines are not solid.
    """

    color: str
    dash: str = "solid"

    @property
    def line(self) -> dict[str, Any]:
        """The line of a chart, for plotly."""
        return {"color": self.color, "dash": self.dash, "width": 2.5}

    @property
    def hatch(self) -> dict[str, Any]:
        """The pattern of bars, for plotly."""
        stripes = {"fillmode": "overlay", "fgcolor": "#FFFFFF", "fgopacity": 0.7}
        return stripes | {"shape": _HATCHES[self.dash], "size": 6, "solidity": 0.35}

    @property
    def border(self) -> str:
        """The line of a legend, for CSS.

        >>> Style("#0072B2", "dash").border
        'dashed #0072B2'
        """
        return f"{_BORDERS[self.dash]} {self.color}"


def palette(methods: Iterable[str]) -> dict[str, Style]:
    """Return a style for each method; when the colors have run out, dashes tell them apart."""
    styles = (Style(color, dash) for dash, color in product(_DASHES, _COLORS))
    return dict(zip(methods, cycle(styles), strict=False))


def translucent(color: str, opacity: float) -> str:
    """Return the color, mixed with what lies below it.

    >>> translucent("#0072B2", 0.2)
    'rgba(0,114,178,0.2)'
    """
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def axis(title: str, **more: Any) -> dict[str, Any]:
    """Return an axis of a chart, that nobody zooms by accident; long titles break before a unit.

    >>> axis("standard deviation (units of the target)")["title"]["text"]
    'standard deviation<br>(units of the target)'
    """
    text = title.replace(" (", "<br>(") if len(title) > _LONG else title
    style = {"title": {"text": text, "standoff": 8}, "fixedrange": True, "automargin": True}
    return style | {"zeroline": False, "showline": False} | more


def blank(x: dict[str, Any], y: dict[str, Any], height: int = 300) -> Figure:
    """Return a chart with nothing in it; the page gives it the colors of its text and lines."""
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
