"""Range images: a turning laser scanner's points, a row for each beam, a column for each angle."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from duda.checks import (
    as_tensor,
    at_least_float32,
    check_count,
    check_finite,
    check_not_empty,
)

__all__ = ["RangeImage", "RangeView", "turned_scan"]


@dataclass(frozen=True, eq=False)
class RangeImage:
    """What a scanner sees, and which of its points stands at which pixel.

    Args:
        image: range, x, y, z in metres and remission of the nearest point; 0 where there is none.
        nearest: the number of the point that a pixel shows, -1 where there is none.
        pixels: the pixel that each point falls on, row * W + column, also where a nearer one hides
            it.
    """

    image: Float[Tensor, "5 H W"]
    nearest: Int[Tensor, "H W"]
    pixels: Int[Tensor, "P"]

    def to_pixels(self, values: Shaped[Tensor, "P"], empty: float = 0) -> Shaped[Tensor, "H W"]:
        """Return the value of the point at each pixel, and `empty` where there is none.

        >>> RangeView(2, 4).project(torch.ones(1, 4)).to_pixels(torch.tensor([7])).amax(0)
        tensor([0, 7, 0, 0])
        """
        if values.shape != self.pixels.shape:
            raise ValueError(
                f"`values` has shape {tuple(values.shape)}, expected {tuple(self.pixels.shape)}, "
                "one for each point."
            )
        return torch.where(self.nearest >= 0, values[self.nearest.clamp(min=0)], empty)

    def to_points(self, values: Shaped[Tensor, "*K H W"]) -> Shaped[Tensor, "*K P"]:
        """Return for each point, hidden ones too, what stands at its pixel."""
        if values.shape[-2:] != self.nearest.shape:
            raise ValueError(
                f"`values` has shape {tuple(values.shape)}, expected (..., H, W) with H and W "
                f"{tuple(self.nearest.shape)}, those of the range image."
            )
        return values.flatten(-2)[..., self.pixels]


@dataclass(frozen=True)
class RangeView:
    """The spherical projection of points onto H x W pixels.

    Columns go once round from behind over the left, so column W / 2 looks ahead along x; rows go
    down from `up` to `down`, and points beyond these belong to the first and last row. Source:
    Milioto et al. 2019 (RangeNet++), eq. 1, with the sign of the angles as in their code.

    Args:
        height: rows, as many as the scanner has beams.
        width: columns.
        up: where the first row begins, in degrees over the horizon.
        down: where the last row ends, in degrees.

    >>> ahead = torch.tensor([[5.0, 0.0, 0.0, 0.3], [9.0, 0.0, 0.0, 0.6]])
    >>> seen = RangeView().project(ahead)
    >>> seen.image.shape, seen.pixels.tolist(), seen.nearest.max()
    (torch.Size([5, 64, 2048]), [13312, 13312], tensor(0))
    """

    height: int = 64
    width: int = 2048
    up: float = 3.0
    down: float = -25.0

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            object.__setattr__(self, name, check_count(getattr(self, name), name))
        if not -90 <= self.down < self.up <= 90:
            raise ValueError(
                f"`up` is {self.up} and `down` is {self.down}, expected degrees from -90 to 90, "
                "with `up` the higher one."
            )

    def project(self, points: Float[Tensor, "P 4"]) -> RangeImage:
        """Return the picture of points x (ahead), y (left), z (up) in metres, and remission.

        The nearest point of a pixel wins; of equally near ones, the first. A point at the origin,
        as scanners write for a beam that never came back, has the pixel straight ahead, but is
        never what this pixel shows.

        Raises:
            ValueError: if there are no points, not four numbers each, or one is not finite.
        """
        points = at_least_float32(as_tensor(points, "points"))
        if points.ndim != 2 or points.shape[1] != 4:
            raise ValueError(
                f"`points` has shape {tuple(points.shape)}, expected (P, 4): x, y, z and remission."
            )
        check_not_empty(points, "points")
        check_finite(points, "points")
        xyz = points[:, :3].double()  # so that a point does not change its pixel by rounding
        ranges = xyz.norm(dim=1)
        pixels = self._pixels(xyz, ranges)
        nearest = self._nearest(pixels, ranges).to(points.device)
        seen = torch.cat([ranges[:, None].to(points.dtype), points], 1)
        image = torch.where(nearest >= 0, seen[nearest.clamp(min=0)].permute(2, 0, 1), 0)
        return RangeImage(image, nearest, pixels)

    def _pixels(self, xyz: Tensor, ranges: Tensor) -> Tensor:
        x, y, z = xyz.unbind(1)
        pitch = torch.where(ranges > 0, z / ranges, 0).clamp(-1, 1).asin()
        up, down = math.radians(self.up), math.radians(self.down)
        column = 0.5 * (1 - torch.atan2(y, x) / math.pi) * self.width
        row = (up - pitch) / (up - down) * self.height
        column = column.floor().long().clamp(0, self.width - 1)
        row = row.floor().long().clamp(0, self.height - 1)
        return row * self.width + column

    def _nearest(self, pixels: Tensor, ranges: Tensor) -> Tensor:
        found = np.full(self.height * self.width, -1)
        # Of several values for one index numpy keeps the last: that of the nearest point.
        order = np.argsort(ranges.cpu().numpy(), kind="stable")[::-1]
        order = order[: int((ranges > 0).sum())]  # the last ones are at the origin
        found[pixels.cpu().numpy()[order]] = order
        return torch.from_numpy(found.reshape(self.height, self.width))


def turned_scan(points: Float[Tensor, "P D"]) -> Float[Tensor, "P D"]:
    """Return the points turned about the upright axis at random, half of the time in a mirror.

    So a scan gives a network many scans to learn from. The angle and the mirror come from torch's
    global generator, which `duda.fit` seeds.

    Args:
        points: x and y, then z, remission and whatever else, which stay as they are.

    >>> turned_scan(torch.tensor([[3.0, 4.0, 1.0, 0.5]])).square().sum()
    tensor(26.2500)
    """
    angle = 2 * torch.pi * torch.rand((), dtype=points.dtype)
    side = 2 * torch.randint(2, ()) - 1
    x, y = points[:, 0], points[:, 1]
    ahead = angle.cos() * x - angle.sin() * y
    left = side * (angle.sin() * x + angle.cos() * y)
    return torch.cat([torch.stack([ahead, left], 1), points[:, 2:]], 1)
