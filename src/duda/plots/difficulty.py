"""Data maps of training examples, and how many are how hard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from duda.plots.canvas import GOOD, INK, canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["data_map", "easy_to_hard"]

_DENSE = 2000  # points from which on they are drawn smaller


def data_map(
    confidence: Float[Tensor, "N"],
    variability: Float[Tensor, "N"],
    correctness: Float[Tensor, "N"],
    ax: Axes | None = None,
) -> Axes:
    """Draw each example where the model stood with it: easy, ambiguous or hard to learn.

    Source: Swayamdipta et al. 2020, figure 1.

    >>> import torch
    >>> data_map(torch.tensor([0.9]), torch.tensor([0.1]), torch.tensor([1.0])).get_ylabel()
    "confidence: the label's mean probability"
    """
    ax = canvas(
        ax,
        "Data map",
        "variability: its standard deviation",
        "confidence: the label's mean probability",
    )
    size, opacity = (14, 0.8) if len(confidence) < _DENSE else (4, 0.5)
    # The wrong ones last: they are few, and what one looks for.
    order = correctness.argsort(descending=True, stable=True)
    points = ax.scatter(
        variability[order].numpy(),
        confidence[order].numpy(),
        c=correctness[order].numpy(),
        s=size,
        alpha=opacity,
        vmin=0,
        vmax=1,
        cmap="coolwarm_r",
        linewidths=0,
        rasterized=len(confidence) >= _DENSE,
    )
    ax.set(xlim=(0, 1.15 * float(variability.max()) or None), ylim=(-0.02, 1.02))
    ax.figure.colorbar(points, ax=ax, label="correctness: share of epochs")
    # A probability's deviation is largest at a half: these corners are free.
    for y, word in ((0.95, "easy"), (0.5, "ambiguous"), (0.05, "hard")):
        ax.text(0.98, y, word, transform=ax.transAxes, ha="right", va="center", color=INK)
    return ax


def easy_to_hard(
    score: Float[Tensor, "N"], name: str, *, high_is_hard: bool = True, ax: Axes | None = None
) -> Axes:
    """Draw how many examples have which score, the easiest on the left.

    >>> import torch
    >>> easy_to_hard(torch.tensor([0.1, 0.2, 3.0]), "action").get_xlabel()
    'action, from easy to hard'
    """
    ax = canvas(ax, "Examples by difficulty", f"{name}, from easy to hard", "examples")
    finite = score[score.isfinite()]
    ax.hist(finite.numpy(), bins=40, color=GOOD)
    ax.set_yscale("log")
    if not high_is_hard:
        ax.invert_xaxis()
    others = len(score) - len(finite)
    if others:
        ax.text(0.98, 0.95, f"{others} infinite", transform=ax.transAxes, ha="right", color=INK)
    return ax
