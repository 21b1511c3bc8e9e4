"""The pictures that a method is most and least sure of, with what it says of them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from duda.predictions import ClassPrediction

__all__ = ["Claim", "Picture", "data_uri", "extremes", "is_pictures", "pictures"]

_CLAIMS = 2  # probabilities below each picture
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


def data_uri(picture: Float[Tensor, "C H W"]) -> str:
    """Return the picture, grey or in colours, with values in [0, 1], inside a text.

    Small ones are PNGs, to the last level. Those of more than 96 pixels become JPEGs of that size:
    a page of some hundred photographs stays below 8 MB.
    """
    from PIL import Image

    levels = (picture.double() * 255).round().to(torch.uint8).cpu()
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
