"""Pictures among the inputs: which can be shown, and how they go into the page."""

from __future__ import annotations

import base64
import io

import torch
from jaxtyping import Float
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_finite, check_not_empty
from duda.predictions import ClassPrediction

__all__ = ["as_pictures", "data_uri"]

_ROUNDING = 1e-3  # beyond either end of [0, 1], as standardising and going back may leave it
_SIDE = 96  # pixels


def as_pictures(x: ArrayLike | None, name: str, prediction: ClassPrediction) -> Tensor | None:
    """Return the pictures `(N, 1 or 3, H, W)` that can be shown with the prediction.

    Inputs `(N, D)` are no pictures, which gives None.

    Raises:
        ValueError: for any other shape, or if there is not one for each example, in [0, 1].

    >>> answer = ClassPrediction.from_probs([[0.9, 0.1]])
    >>> as_pictures([[0.5, 7.0]], "inputs", answer) is None
    True
    """
    values = None if x is None else as_tensor(x, name)
    if values is None or values.ndim <= 2:
        return None
    if prediction.log_probs.ndim > 2:
        raise ValueError(
            f"`{name}` cannot be shown: their predictions have shape "
            f"{tuple(prediction.log_probs.shape)}, expected (N, C): leave the pictures out where "
            "each position has a class."
        )
    _check_layout(values, name)
    if len(values) != len(prediction):
        raise ValueError(
            f"`{name}` holds {len(values)} pictures for a prediction of {len(prediction)} "
            "examples, expected one for each."
        )
    _check_range(values, name)
    return values


def _check_layout(x: Tensor, name: str) -> None:
    if x.ndim == 4 and x.shape[1] in (1, 3):
        return
    remedy = f"leave `{name}` out if they are no pictures"
    if x.ndim == 3:
        remedy = f"call `{name}.unsqueeze(1)` if they are gray, or {remedy}"
    elif x.ndim == 4 and x.shape[3] in (1, 3):
        remedy = f"call `{name}.permute(0, 3, 1, 2)`"
    elif x.ndim == 4 and x.shape[1] == 4:
        remedy = f"pass `{name}[:, :3]` if the last channel is opacity"
    raise ValueError(
        f"`{name}` has shape {tuple(x.shape)}, expected pictures (N, 1 or 3, H, W), or inputs "
        f"(N, D), which are not shown: {remedy}."
    )


def _check_range(x: Tensor, name: str) -> None:
    check_not_empty(x, name)
    check_finite(x, name)
    low, high = (float(end) for end in x.float().aminmax())  # uint16 has no order
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise ValueError(f"`{name}` lies in [{low:.4g}, {high:.4g}], expected [0, 1]: scale them.")


def data_uri(picture: Float[Tensor, "C H W"]) -> str:
    """Return the picture, gray or in colors, with values in [0, 1], inside a text.

    What rounding left beyond the ends becomes the end.

    Small ones are PNGs, to the last level. Those of more than 96 pixels become JPEGs of that size:
    a page of some hundred photographs stays below 8 MB.
    """
    from PIL import Image

    levels = (picture.double().clamp(0, 1) * 255).round().to(torch.uint8).cpu()
    array = (levels[0] if len(levels) == 1 else levels.permute(1, 2, 0).contiguous()).numpy()
    buffer, image = io.BytesIO(), Image.fromarray(array)
    if max(image.size) > _SIDE:
        kind = "jpeg"
        image.thumbnail((_SIDE, _SIDE))
        image.save(buffer, "JPEG", quality=80)
    else:
        kind = "png"
        image.save(buffer, "PNG", optimize=True)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
