"""Axes to draw on: those that were given, or new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["BAD", "GOOD", "INK", "MUTED", "canvas"]

# Distinct in print and for the color-blind (Okabe & Ito 2008).
GOOD, BAD, INK, MUTED = "#0072B2", "#D55E00", "#222222", "#9A9A9A"


def canvas(ax: Axes | None, title: str, xlabel: str, ylabel: str) -> Axes:
    """Return `ax`, or the axes of a new figure, with its labels and without the upper frame.

    >>> canvas(None, "Reliability", "confidence", "accuracy").get_xlabel()
    'confidence'
    """
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=(5, 4), layout="constrained")
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    ax.spines[["top", "right"]].set_visible(False)
    return ax
