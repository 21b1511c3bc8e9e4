"""ROC curves and histograms: how well a score tells two kinds of examples apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from duda.plots.canvas import BAD, GOOD, INK, MUTED, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["roc", "two_histograms"]

_BINS = 60


def roc(
    fpr: Float[Tensor, "K"], tpr: Float[Tensor, "K"], auroc: float, ax: Axes | None = None
) -> Axes:
    """Draw the receiver operating characteristic, from (0, 0), beside that of chance.

    >>> import torch
    >>> ax = roc(torch.tensor([0.5, 1.0]), torch.tensor([1.0, 1.0]), auroc=0.75)
    >>> ax.get_xlabel()
    'share of good examples flagged'
    """
    ax = canvas(
        ax, "What the score finds", "share of good examples flagged", "share of bad examples caught"
    )
    ax.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1, label="chance")
    ax.plot([0, *fpr.tolist()], [0, *tpr.tolist()], color=BAD, label=f"AUROC {auroc:.3f}")
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    ax.legend(frameon=False, loc="lower right")
    return ax


def two_histograms(
    values: Shaped[np.ndarray, "K"],
    inside: Int[np.ndarray, "K"],
    outside: Int[np.ndarray, "K"],
    threshold: float,
    ax: Axes | None = None,
) -> Axes:
    """Draw the densities of scores in and out of distribution, and a threshold between them.

    Args:
        values: distinct scores.
        inside: how many examples of the distribution have each.
        outside: how many out of distribution have each.
        threshold: the highest score that is accepted.
        ax: where to draw, by default in a new figure.

    >>> ax = two_histograms(np.array([0.0, 1.0]), np.array([3, 1]), np.array([0, 2]), 1.0)
    >>> ax.get_ylabel()
    'density'
    """
    ax = canvas(ax, "In and out of distribution", "score, higher is further out", "density")
    finite = np.isfinite(values)
    shown = values[finite].astype(float)
    edges = np.histogram_bin_edges(shown, _BINS)
    for counts, name, color in ((inside, "in", GOOD), (outside, "out of", BAD)):
        label = f"{name} distribution, n = {counts.sum():,}"
        infinite = counts[~finite].sum()
        if infinite:
            label += f", {infinite:,} infinite not shown"
        heights, _ = np.histogram(shown, edges, weights=counts[finite])
        heights = heights / (counts.sum() * np.diff(edges))
        ax.stairs(heights, edges, fill=True, color=color, alpha=0.35, label=label)
        ax.stairs(heights, edges, color=color)
    if np.isfinite(threshold):
        ax.axvline(
            threshold, color=INK, linestyle="--", linewidth=1, label="keeps 95 % in distribution"
        )
    ax.set_ylim(0, 1.3 * ax.get_ylim()[1])  # space for the legend
    ax.legend(loc="upper right", framealpha=0.9, edgecolor="none")  # legible over the line
    return ax
