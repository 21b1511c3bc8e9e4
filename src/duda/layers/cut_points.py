"""Cut points of an order, the same for all inputs: the last layer of a proportional-odds model."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from duda.checks import check_count

__all__ = ["CutPoints"]


class CutPoints(nn.Module):
    """Takes a location for each input, and adds the gaps between cut points, which it learns.

    What it puts out is what `Ordinal` takes. Source: McCullagh 1980.

    Args:
        classes: the number K of classes, at least 3; of two the location is all there is.

    >>> CutPoints(5)(torch.zeros(8, 1)).shape
    torch.Size([8, 4])
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        if check_count(classes, "classes") < 3:
            raise ValueError(f"`classes` is {classes}, expected at least 3: leave this layer out.")
        self.gaps = nn.Parameter(torch.zeros(classes - 2))

    def forward(
        self, location: Float[Tensor, "N 1 *positions"]
    ) -> Float[Tensor, "N K-1 *positions"]:
        """Return the locations, and the raw gaps beside each."""
        if location.ndim < 2 or location.shape[1] != 1:
            raise ValueError(
                f"`location` has shape {tuple(location.shape)}, expected (N, 1, *positions): end "
                "the network before this layer in `nn.Linear(..., 1)`."
            )
        gaps = self.gaps.view(-1, *[1] * (location.ndim - 2))
        size = (len(location), len(self.gaps), *location.shape[2:])
        return torch.cat([location, gaps.expand(size)], 1)
