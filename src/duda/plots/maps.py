"""Maps of pixels side by side: segmentations, depths, and how unsure each pixel is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jaxtyping import Shaped
from torch import Tensor

from duda.plots.canvas import MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["maps"]

_INCHES = 2.6  # of the width of a panel
_LABELS = "tab10", "tab20"  # for so many classes, and more


def maps(
    panels: Mapping[str, Shaped[Tensor, "*C H W"]],
    *,
    unit: str = "",
    columns: int = 3,
) -> list[Axes]:
    """Draw maps of one picture, each below its name, on a new figure.

    Pictures `(3, H, W)` or `(1, H, W)` with values in [0, 1] are drawn as they are, integers as
    labels, all by the same colors and white below 0, booleans in black where they are True, and
    other numbers by brightness with a bar. "entropy", "aleatoric" and "epistemic" have one scale,
    since two of them add up to the third.

    Args:
        panels: by name, as `duda.maps.panels` returns them.
        unit: of the numbers, to stand at their bars.
        columns: panels in a row.

    Raises:
        ValueError: if there are none, or one has another shape.

    >>> import torch
    >>> axes = maps({"prediction": torch.eye(4).long(), "entropy": torch.rand(4, 4)})
    >>> [ax.get_title() for ax in axes]
    ['prediction', 'entropy']
    """
    import matplotlib.pyplot as plt

    for name, value in panels.items():
        if not (value.ndim == 2 or (value.ndim == 3 and len(value) in (1, 3))) or 0 in value.shape:
            raise ValueError(
                f"`panels` has {name!r} of shape {tuple(value.shape)}, expected (H, W), or a "
                "picture (1, H, W) or (3, H, W)."
            )
    if not panels or columns < 1:
        raise ValueError("`panels` are empty, or `columns` below 1: expected one map at least.")
    height, width = next(iter(panels.values())).shape[-2:]
    rows, columns = -(-len(panels) // columns), min(columns, len(panels))
    size = columns * _INCHES, rows * (0.8 * _INCHES * min(max(height / width, 0.4), 2.5) + 0.4)
    figure, grid = plt.subplots(rows, columns, figsize=size, layout="compressed", squeeze=False)
    styles = _styles(panels)
    axes = list(grid.flat)
    for ax, (name, value) in zip(axes, panels.items(), strict=False):
        shown = value.detach().cpu()
        shown = shown.permute(1, 2, 0) if shown.ndim == 3 else shown
        image = ax.imshow(shown.numpy(), **styles[name])
        ax.set_title(name, fontsize=10)
        if styles[name].get("cmap") == "magma":
            figure.colorbar(image, ax=ax, shrink=0.85, label=unit)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_color(MUTED)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    return axes[: len(panels)]


def _styles(panels: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    """Return how to draw each map."""
    from matplotlib import colormaps

    labels = [each for each in panels.values() if _is_labels(each)]
    classes = 1 + max((int(each.max()) for each in labels), default=0)
    parts = [panels[name] for name in ("entropy", "aleatoric", "epistemic") if name in panels]
    highest = max((float(each.max()) for each in parts), default=0.0)
    found: dict[str, dict[str, Any]] = {}
    for name, value in panels.items():
        if value.ndim == 3:
            found[name] = {"cmap": "gray", "vmin": 0, "vmax": 1}
        elif _is_labels(value):
            colors = colormaps[_LABELS[classes > 10]].with_extremes(under="white")
            span = 10 if classes <= 10 else 20
            found[name] = {"cmap": colors, "vmin": -0.5, "vmax": span - 0.5}
            found[name]["interpolation"] = "nearest"
        elif not value.is_floating_point():
            found[name] = {"cmap": "gray_r", "vmin": 0, "vmax": 1, "interpolation": "nearest"}
        elif any(value is each for each in parts):
            found[name] = {"cmap": "magma", "vmin": 0, "vmax": highest}
        else:
            found[name] = {"cmap": "magma"}
    return found


def _is_labels(value: Tensor) -> bool:
    return value.ndim == 2 and not value.is_floating_point() and value.dtype.itemsize > 1
