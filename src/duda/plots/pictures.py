"""Grids of pictures with a few words below each: what a model is sure of, and what not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from duda.plots.canvas import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["pictures"]

_GAP = 0.08  # between pictures, of the width of one
_LINE = 0.155  # inches that a line of a caption takes
_POINTS = 8
_WIDTH = 8.0  # inches of a new figure


def pictures(
    x: Float[Tensor, "N C H W"],
    captions: Sequence[str] = (),
    *,
    columns: int = 10,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw pictures in rows, the first on the upper left, each with its caption below.

    Args:
        x: grey (C = 1) or in colors (C = 3), values in [0, 1].
        captions: one for each picture, of as many lines as you like; none at all if not given.
        columns: how many to a row.
        title: above all of them.
        ax: where to draw; by default on a new figure 8 inches wide.

    Raises:
        ValueError: if `x` are no such pictures, or there is not one caption for each.

    >>> import torch
    >>> ax = pictures(torch.rand(3, 1, 28, 28), ["a", "b", "c"], title="digits")
    >>> len(ax.images), ax.get_title()
    (3, 'digits')
    """
    _check(x, captions, columns)
    lines = max((1 + caption.count("\n") for caption in captions), default=0)
    rows = -(-len(x) // columns)
    tall = x.shape[2] / x.shape[3]
    if ax is None:
        ax = _new(rows, columns, tall, lines, title)
    inches = ax.get_window_extent().width / ax.figure.dpi / columns
    pitch = tall + _GAP + lines * _LINE / inches
    for place, picture in enumerate(x.cpu().float()):
        row, left = divmod(place, columns)
        bottom = -row * pitch - tall
        ax.imshow(
            picture.permute(1, 2, 0).numpy(),
            cmap="gray",
            vmin=0,
            vmax=1,
            extent=(left, left + 1 - _GAP, bottom, bottom + tall * (1 - _GAP)),
        )
        if captions:
            ax.annotate(
                captions[place],
                (left + (1 - _GAP) / 2, bottom),
                xytext=(0, -2),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=_POINTS,
                color=INK,
            )
    ax.set(title=title, xlim=(0, columns - _GAP), ylim=(-rows * pitch, 0), aspect="equal")
    ax.set_axis_off()
    return ax


def _check(x: Tensor, captions: Sequence[str], columns: int) -> None:
    if x.ndim != 4 or x.shape[1] not in (1, 3) or 0 in x.shape:
        raise ValueError(
            f"`x` has shape {tuple(x.shape)}, expected pictures (N, C, H, W) with one channel or "
            "three: for one picture call `x.unsqueeze(0)`."
        )
    if not bool(((x >= 0) & (x <= 1)).all()):
        raise ValueError(
            f"`x` lies in [{float(x.min()):.4g}, {float(x.max()):.4g}], expected values in [0, 1]: "
            "undo the standardisation, or divide bytes by 255."
        )
    if len(captions) not in (0, len(x)):
        raise ValueError(
            f"`captions` has {len(captions)} of them, expected one for each of {len(x)} pictures."
        )
    if columns < 1:
        raise ValueError(f"`columns` is {columns}, expected at least 1.")


def _new(rows: int, columns: int, tall: float, lines: int, title: str) -> Axes:
    """Return the axes of a new figure, as high as its rows need."""
    import matplotlib.pyplot as plt

    row = (tall + _GAP) * _WIDTH / columns + lines * _LINE
    height = rows * row + (0.35 if title else 0.05)
    _, ax = plt.subplots(figsize=(_WIDTH, height), layout="constrained")
    return ax
