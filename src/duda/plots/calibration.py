"""Reliability diagrams: does a confidence of 80 % mean right in 80 % of cases?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from duda.plots.canvas import BAD, GOOD, INK, MUTED, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

__all__ = ["reliability_diagram"]

_PALE = "#F7DCCB"  # of `BAD`
_THINNEST = 0.015  # of a bar: where many confidences are equal, a bin of them has no width


def reliability_diagram(
    edges: ArrayLike,
    counts: ArrayLike,
    confidence: ArrayLike,
    accuracy: ArrayLike,
    *,
    ece: float,
    band: tuple[ArrayLike, ArrayLike] | None = None,
    limit: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw accuracy over confidence in bins, the gaps between them, and a histogram on top.

    Args:
        edges: `(B + 1)`.
        counts: `(B)`, examples; empty bins are left out.
        confidence: `(B)`, means.
        accuracy: `(B)`.
        ece: the calibration error.
        band: `(B)` each, lowest and highest accuracy that chance explains.
        limit: the calibration error that chance explains.
        ax: where to draw; by default on a new figure.

    >>> reliability_diagram([0, 0.5, 1], [1, 3], [0.4, 0.9], [0, 0.5], ece=0.4).get_ylabel()
    'share right'
    """
    chance = "" if limit is None else f" (by chance up to {limit:.3f})"
    ax = canvas(ax, f"Calibration error (ECE) {ece:.3f}{chance}", "confidence", "share right")
    ax.title.set_fontsize("medium")
    edges, counts = np.asarray(edges), np.asarray(counts)
    filled = counts > 0
    confidence, accuracy = np.asarray(confidence)[filled], np.asarray(accuracy)[filled]
    width = np.maximum(np.diff(edges)[filled], _THINNEST)
    left = np.minimum(edges[:-1][filled], 1 - width)
    bars = partial(ax.bar, left, width=width, align="edge")
    bars(accuracy, color=GOOD, edgecolor="white", label="share right")
    gap: dict[str, Any] = {
        "color": _PALE,
        "edgecolor": BAD,
        "hatch": "///",
        "label": "gap to the confidence",
    }
    bars(confidence - accuracy, bottom=accuracy, **gap)
    ax.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=1, label="as it should be")
    if band is not None:
        low, high = (np.asarray(side)[filled] for side in band)
        whiskers: dict[str, Any] = {
            "fmt": "none",
            "ecolor": INK,
            "capsize": 3,
            "label": "by chance",
        }
        ax.errorbar(confidence, (low + high) / 2, (high - low) / 2, **whiskers)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.legend(loc="upper left", fontsize="small", framealpha=0.9, edgecolor="none")
    _histogram(ax, left, width, counts[filled])
    return ax


def _histogram(ax: Axes, left: np.ndarray, width: np.ndarray, counts: np.ndarray) -> None:
    """Draw how many examples each bin holds, above `ax`."""
    above = ax.inset_axes((0, 1.03, 1, 0.15), sharex=ax)
    above.bar(left, counts, width=width, align="edge", color=MUTED, edgecolor="white")
    above.tick_params(labelbottom=False, bottom=False)
    above.set(ylabel="examples", yticks=[counts.max()])
    above.spines[["top", "right"]].set_visible(False)
