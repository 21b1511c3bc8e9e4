"""Augmentation of pictures: crop, flip, mixup and cutmix of batches, on the device they are on.

Each is a function of a batch and a generator, `(x, y, generator) -> (x, y)`, as
`Training(augment=...)` takes it. Pictures are `(N, *channels, H, W)`. Targets with positions, such
as maps of labels `(N, H, W)`, go where their pixels go.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from duda.batches import Batch
from duda.checks import check_count, plain_number
from duda.doubts import doubt

__all__ = ["Crop", "CutMix", "Flip", "Mixup"]


@dataclass(frozen=True)
class Crop:
    """Pictures moved by up to `padding` pixels up or down, and left or right, each by its own draw.

    Args:
        padding: pixels.
        fill: what comes in from outside; 0 is the mean of pictures that are normalized.
        target_fill: the same of maps of targets, such as a label to be ignored.

    >>> x, y = Crop(1)(torch.ones(2, 1, 3, 3), torch.tensor([0, 1]), Generator().manual_seed(1))
    >>> x.shape, y
    (torch.Size([2, 1, 3, 3]), tensor([0, 1]))
    """

    padding: int = 4
    fill: float = 0.0
    target_fill: float | None = None

    def __post_init__(self) -> None:
        check_count(self.padding, "padding")

    def __call__(self, x: Batch, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return pictures, and maps of targets, that have moved."""
        pictures = _pictures(x, self)
        top, left = torch.randint(
            2 * self.padding + 1,
            (2, len(pictures)),
            generator=generator,
            device=pictures.device,
        )
        if _is_map(pictures, y):
            if self.target_fill is None:
                raise ValueError(
                    f"`y` has shape {tuple(y.shape)}, a map that moves with its picture, but "
                    "`target_fill` is missing, expected what comes in from outside, such as the "
                    "label to be ignored."
                )
            y = self._moved(y, self.target_fill, top, left)
        return self._moved(pictures, self.fill, top, left), y

    def _moved(self, values: Tensor, fill: float, top: Tensor, left: Tensor) -> Tensor:
        height, width = values.shape[-2:]
        padded = F.pad(values, [self.padding] * 4, value=fill)
        padded = padded.reshape(len(values), -1, *padded.shape[-2:])
        rows = top[:, None] + torch.arange(height, device=top.device)
        columns = left[:, None] + torch.arange(width, device=left.device)
        each = torch.arange(len(values), device=top.device)[:, None, None]
        found = padded[each, :, rows[:, :, None], columns[:, None, :]]
        return found.movedim(3, 1).reshape(values.shape).contiguous()


@dataclass(frozen=True)
class Flip:
    """Pictures mirrored, left for right, each with some probability.

    Args:
        p: that probability.
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        _number(self.p, "p", most=1.0)

    def __call__(self, x: Batch, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return pictures, and maps of targets, of which some are mirrored."""
        pictures = _pictures(x, self)
        drawn = torch.rand(len(pictures), generator=generator, device=pictures.device) < self.p
        y = _mirrored(y, drawn) if _is_map(pictures, y) else y
        return _mirrored(pictures, drawn), y


@dataclass(frozen=True)
class _Mixing:
    """Pictures mixed with others of the batch, which makes shares of labels.

    Args:
        alpha: of the Beta(α, α) that the share of each batch is drawn from.
        classes: how many there are, where targets are labels; targets that are floats, such as
            shares or numbers, are mixed as they are.
    """

    alpha: float = 1.0
    classes: int | None = None

    def __post_init__(self) -> None:
        _number(self.alpha, "alpha", most=math.inf)
        if self.classes is not None:
            check_count(self.classes, "classes")

    def _drawn(self, values: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return the share of the pictures themselves, and with which others they are mixed."""
        two = torch.full((2,), float(self.alpha), device=values.device)
        two = torch._standard_gamma(two, generator=generator).clamp(min=1e-30)
        order = torch.randperm(len(values), generator=generator, device=values.device)
        return two[0] / two.sum(), order

    def _shares(self, y: Tensor) -> Tensor:
        """Return targets as numbers that can be mixed."""
        if y.is_floating_point():
            return y
        if self.classes is None:
            raise ValueError(
                f"`y` has dtype {y.dtype}, and labels are mixed as shares of classes: give "
                f"`{type(self).__name__}(classes=...)`, or targets that are floats."
            )
        classes = self.classes

        def look() -> None:
            wrong = y[(y < 0) | (y >= classes)]
            raise ValueError(
                f"`y` holds the label {int(wrong[0])}, which has no share that could be mixed, "
                f"expected 0 to {classes - 1}: leave out examples with other labels, or mix their "
                "pictures by a function of your own."
            )

        doubt(lambda: ((y < 0) | (y >= classes)).any(), look, y.nbytes)
        each = torch.arange(classes, device=y.device).view(-1, *[1] * (y.ndim - 1))
        return (y.unsqueeze(1) == each).float()


@dataclass(frozen=True)
class Mixup(_Mixing):
    """Pictures, or other inputs that are numbers, and their targets averaged with others.

    Each x becomes λ x + (1 - λ) x' with one λ for a batch, and y likewise, by which labels become
    shares. Source: Zhang et al. 2018, eq. 1 and the authors' code.

    Args:
        alpha: λ is drawn from Beta(α, α).
        classes: how many there are, where targets are labels.

    >>> mixup = Mixup(classes=3)
    >>> x, y = mixup(torch.rand(4, 5), torch.tensor([0, 1, 2, 0]), Generator().manual_seed(0))
    >>> y.shape, y.sum(1)
    (torch.Size([4, 3]), tensor([1., 1., 1., 1.]))
    """

    def __call__(self, x: Batch, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return inputs that are mixed, and targets in the same shares."""
        inputs = _floats(x, self)
        share, order = self._drawn(inputs, generator)
        y = self._shares(y)
        return _mixed(inputs, share, order), _mixed(y, share, order)


@dataclass(frozen=True)
class CutMix(_Mixing):
    """Pictures with a box of another picture in it, and labels by the shares of the area.

    One box for a batch, of the area 1 - λ where it lies within. Maps of targets are cut as the
    pictures are. Source: Yun et al. 2019, eq. 1 and 2.

    Args:
        alpha: λ is drawn from Beta(α, α).
        classes: how many there are, where targets are labels.
    """

    def __call__(self, x: Batch, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return pictures with a box of others in them, and targets that fit."""
        pictures = _pictures(x, self)
        share, order = self._drawn(pictures, generator)
        sides = torch.tensor(pictures.shape[-2:], device=share.device)
        half = (1 - share).sqrt() * sides / 2
        centre = torch.rand(2, generator=generator, device=share.device) * sides
        places = [torch.arange(side, device=share.device) + 0.5 for side in pictures.shape[-2:]]
        rows, columns = (
            (place - c).abs() < h for place, c, h in zip(places, centre, half, strict=True)
        )
        box = rows[:, None] & columns
        cut = torch.where(box, pictures[order], pictures)
        if _is_map(pictures, y):
            return cut, torch.where(box, y[order], y)
        return cut, _mixed(self._shares(y), 1 - box.float().mean(), order)


def _pictures(x: Batch, who: Any) -> Tensor:
    if isinstance(x, Tensor) and x.ndim >= 3:
        return x
    found = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else "several inputs"
    raise ValueError(
        f"`x` has {found}, expected pictures (N, *channels, H, W) for {type(who).__name__}: give "
        "`augment` a function of your own."
    )


def _floats(x: Batch, who: Any) -> Tensor:
    if isinstance(x, Tensor) and x.is_floating_point():
        return x
    found = f"dtype {x.dtype}" if isinstance(x, Tensor) else "several inputs"
    raise ValueError(
        f"`x` has {found}, expected floating-point numbers for {type(who).__name__}: give "
        "`augment` a function of your own."
    )


def _is_map(pictures: Tensor, y: Tensor) -> bool:
    """Return whether targets have the pictures' positions.

    Raises:
        ValueError: if they have others.
    """
    if y.ndim < 3:
        return False
    if y.shape[-2:] != pictures.shape[-2:]:
        raise ValueError(
            f"`y` has shape {tuple(y.shape)} beside pictures of {tuple(pictures.shape[-2:])}, "
            "expected targets without positions, or with the pictures' own on the last two "
            "dimensions, which move with them: give `augment` a function of your own."
        )
    return True


def _mirrored(values: Tensor, drawn: Tensor) -> Tensor:
    return torch.where(drawn.view(-1, *[1] * (values.ndim - 1)), values.flip(-1), values)


def _mixed(values: Tensor, share: Tensor, order: Tensor) -> Tensor:
    share = share.to(values.dtype)
    return share * values + (1 - share) * values[order]


def _number(value: Any, name: str, most: float) -> None:
    number = plain_number(value)
    if number is None or not 0 < number <= most:
        raise ValueError(f"`{name}` is {value!r}, expected a number above 0, at most {most}.")
