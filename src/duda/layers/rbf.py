"""RBF kernels: classes as places, and how near the features are to the centroid of each."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from duda.checks import at_least_float32, check_count
from duda.devices import uncast

__all__ = ["RBF"]


class RBF(nn.Module):
    """Returns log K_c = -‖W_c f - e_c‖² / 2 n σ² for features f and each class c.

    The centroid e_c, of n numbers, is the moving average of W_c f over the examples of its class
    that `update` was given. Far from all of them every kernel K_c is near 0. Source: van
    Amersfoort et al. 2020, eq. 1.

    Args:
        features: their number, F.
        classes: their number, C.
        centroid_size: n.
        length_scale: σ, in units of W_c f.
        momentum: how much of the average stays at an update, γ.

    >>> layer = RBF(features=4, classes=3)
    >>> layer(torch.zeros(2, 4)).exp().shape
    torch.Size([2, 3])
    """

    counts: Tensor
    sums: Tensor

    def __init__(
        self,
        features: int,
        classes: int,
        centroid_size: int = 64,
        length_scale: float = 0.1,
        momentum: float = 0.999,
    ) -> None:
        super().__init__()
        sizes = {"features": features, "classes": classes, "centroid_size": centroid_size}
        features, classes, centroid_size = (check_count(sizes[name], name) for name in sizes)
        if not 0 < length_scale < math.inf:
            raise ValueError(f"`length_scale` is {length_scale}, expected a number above 0.")
        if not 0 < momentum < 1:  # with 0, a class that a batch lacks would have no centroid
            raise ValueError(f"`momentum` is {momentum}, expected a number above 0 and below 1.")
        self.length_scale, self.momentum = length_scale, momentum
        self.weight = nn.Parameter(torch.empty(classes, centroid_size, features))
        nn.init.normal_(self.weight, std=1 / math.sqrt(features))
        self.register_buffer("counts", torch.ones(classes))
        self.register_buffer("sums", torch.randn(classes, centroid_size))

    @property
    def centroids(self) -> Float[Tensor, "C n"]:
        """The place of each class. Source: van Amersfoort et al. 2020, eq. 5."""
        return self.sums / self.counts.unsqueeze(1)

    def forward(self, features: Float[Tensor, "N F"]) -> Float[Tensor, "N C"]:
        """Return the logarithms of the kernels, nats.

        Raises:
            ValueError: if there are positions, or another number of features.
        """
        classes, size, width = self.weight.shape
        if features.ndim != 2 or features.shape[1] != width:
            raise ValueError(
                f"the features have shape {tuple(features.shape)}, expected (N, {width}): flatten "
                "or average positions before the RBF layer."
            )
        places = at_least_float32(F.linear(features, self.weight.flatten(0, 1)))
        places = places.view(-1, classes, size)
        square: Tensor = (places - self.centroids).square().mean(2)
        return -square / (2 * self.length_scale**2)

    @torch.no_grad()
    def update(self, features: Float[Tensor, "N F"], shares: Float[Tensor, "N C"]) -> None:
        """Move the centroids towards a batch, of which `shares` tells whose example each is.

        N ← γ N + (1 - γ) Σ y and m ← γ m + (1 - γ) Σ y W f. Source: van Amersfoort et al. 2020,
        eq. 3 and 4.
        """
        shares = shares.to(self.counts.dtype)
        with uncast(features) as full:
            # Σ y W f = W Σ y f, which needs no place for each example.
            sums = torch.einsum("cnf,cf->cn", self.weight, shares.T @ full.to(shares.dtype))
        self.counts.lerp_(shares.sum(0), 1 - self.momentum)
        self.sums.lerp_(sums, 1 - self.momentum)

    def extra_repr(self) -> str:
        """Return the settings, for `repr`."""
        classes, size, width = self.weight.shape
        return (
            f"{width}, {classes}, centroid_size={size}, length_scale={self.length_scale}, "
            f"momentum={self.momentum}"
        )
