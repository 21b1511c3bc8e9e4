"""The pictures that a method is most and least sure of, with what it says of them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.checks import ArrayLike, as_tensor, check_finite, check_not_empty
from duda.predictions import ClassPrediction

__all__ = ["Claim", "Picture", "as_pictures", "data_uri", "extremes", "is_pictures", "pictures"]

_CLAIMS = 2  # probabilities below each picture
_ROUNDING = 1e-3  # beyond either end of [0, 1], as standardising and going back may leave it
_SIDE = 96  # pixels


@dataclass(frozen=True)
class Claim:
    """A class, and the probability that it was given."""

    label: str
    probability: float


@dataclass(frozen=True)
class Picture:
    """A picture and its highest probabilities.

    Args:
        source: the picture itself, as a data URI.
        claims: the most probable classes, highest first.
        truth: the right class where it is known and the first claim is wrong; else empty.
    """

    source: str
    claims: tuple[Claim, ...]
    truth: str = ""


def is_pictures(x: Tensor | None) -> bool:
    """Return whether `x` is `(N, 1 or 3, H, W)`, which can be shown.

    >>> is_pictures(torch.zeros(5, 1, 8, 8)), is_pictures(torch.zeros(5, 2))
    (True, False)
    """
    return x is not None and x.ndim == 4 and x.shape[1] in (1, 3)


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
    if is_pictures(x):
        return
    remedy = f"leave `{name}` out if they are no pictures"
    if x.ndim == 3:
        remedy = f"call `{name}.unsqueeze(1)` if they are grey, or {remedy}"
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
    """Return the picture, grey or in colours, with values in [0, 1], inside a text.

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


def extremes(score: Float[Tensor, "N"], count: int) -> tuple[Int[Tensor, "K"], Int[Tensor, "K"]]:
    """Return the numbers of the most uncertain and of the surest examples; the first among equals.

    >>> extremes(torch.tensor([0.2, 0.9, 0.1]), 1)
    (tensor([1]), tensor([2]))
    """
    order = torch.argsort(score.cpu(), stable=True)
    return torch.argsort(score.cpu(), stable=True, descending=True)[:count], order[:count]


def pictures(
    x: Float[Tensor, "N C H W"],
    prediction: ClassPrediction,
    chosen: Int[Tensor, "K"],
    classes: Sequence[str],
    y: Int[Tensor, "N"] | None = None,
) -> list[Picture]:
    """Return the chosen pictures with what the prediction says of them."""
    probs = prediction.probs.cpu()
    top = probs.topk(min(_CLAIMS, probs.shape[1]), dim=1)
    shown = []
    for index in chosen.tolist():
        labels, values = top.indices[index].tolist(), top.values[index].tolist()
        wrong = y is not None and int(y[index]) != labels[0]
        shown.append(
            Picture(
                data_uri(x[index]),
                tuple(Claim(classes[c], p) for c, p in zip(labels, values, strict=True)),
                classes[int(y[index])] if wrong and y is not None else "",
            )
        )
    return shown
