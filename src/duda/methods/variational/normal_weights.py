"""Normal weights: drawn whole, or as noise for each example of a batch.

The three differ in what one draw of the outputs is for the examples of a batch, taken together; for
each of them alone, a linear layer's outputs are distributed alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from duda.sampling import DrawnWeights, layer_call, tensors

__all__ = ["NOISY_LAYERS", "Flipout", "LocalNoise", "NormalWeight", "WholeWeights"]

NOISY_LAYERS = nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d
_LAYERS = (F.linear, F.conv1d, F.conv2d, F.conv3d)


class NormalWeight(NamedTuple):
    """A weight whose entries are independent and normal.

    Attributes:
        mean: the network's own weight.
        std: of the same shape.
    """

    mean: Tensor
    std: Tensor

    def draw(self) -> Tensor:
        """Return the weight, drawn."""
        return torch.addcmul(self.mean, self.std, torch.randn_like(self.std))

    def noise(self) -> Tensor:
        """Return how far a draw is from the mean."""
        return self.std * torch.randn_like(self.std)


class WholeWeights(DrawnWeights):
    """Draws all weights, once for all examples of a batch.

    Source: Blundell et al. 2015, section 3.2.

    Args:
        network: the network.
        normals: the weights to draw, by their names.
    """

    def __init__(self, network: nn.Module, normals: Mapping[str, NormalWeight]) -> None:
        super().__init__(network, self._draw, normals)
        self._normals = normals

    def _draw(self, draw: Tensor | None) -> dict[str, Tensor]:
        return {name: normal.draw() for name, normal in self._normals.items()}


class LocalNoise(DrawnWeights):
    """Draws a layer's outputs instead of its weights: N(F(x, μ), F(x², σ²)) for the layer F.

    The noise is independent for each example, call and entry of the output, so that for positions
    of a sequence or picture it is not what one weight for all of them would give. Where a weight is
    used by anything but a linear or convolutional layer, it is drawn, once for the whole batch.
    Source: Kingma et al. 2015, eq. 6.

    Args:
        network: the network.
        normals: the weights to draw, by their names.
    """

    def __init__(self, network: nn.Module, normals: Mapping[str, NormalWeight]) -> None:
        # Views are told from the weights, which other layers may use as they are.
        views = {name: normal.mean.view_as(normal.mean) for name, normal in normals.items()}
        super().__init__(network, lambda _: views, views)
        self._normals = {id(view): normals[name] for name, view in views.items()}
        self._drawn: dict[int, Tensor] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `func`: with noise in its outputs, or with what it needs of the weights drawn."""
        kwargs = kwargs or {}
        if not any(id(tensor) in self._normals for tensor in tensors((args, kwargs))):
            return super().__torch_function__(func, types, args, kwargs)
        if func in _LAYERS:
            layer, x, weight, bias = layer_call(func, args, kwargs)
            if id(weight) in self._normals:
                return self._noisy(layer, x, weight, bias)
        args, kwargs = tree_map_only(Tensor, self._whole, (args, kwargs))
        return super().__torch_function__(func, types, args, kwargs)

    def _noisy(
        self, layer: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        mean, std = self._normals[id(weight)]
        bias_mean, bias_std = self._normals.get(id(bias), (bias, None))
        means = layer(x, mean, bias_mean)
        variances = layer(x.square(), std.square(), None if bias_std is None else bias_std.square())
        # Fast convolutions may round below zero, and the slope of a root is infinite at it.
        stds = variances.clamp_min(torch.finfo(variances.dtype).tiny).sqrt()
        with self:  # which gives each draw numbers of its own
            return means + stds * torch.randn_like(means)

    def _whole(self, tensor: Tensor) -> Tensor:
        """Return the draw of a weight, the same in all of a pass; anything else as it is."""
        normal = self._normals.get(id(tensor))
        if normal is None:
            return tensor
        if id(tensor) not in self._drawn:
            with self:
                self._drawn[id(tensor)] = normal.draw()
        return self._drawn[id(tensor)]


class Flipout(DrawnWeights):
    """Draws all weights, and gives each example signs of its own for their distance to the mean.

    An example's weights are μ + ΔW ∘ r sᵀ, with a sign for each output channel in r and for each
    input channel in s, the same at all positions and in all calls of a layer, so that each example
    has one weight but no two have the same. An example is an entry of dimension 0 of a layer's
    input. Where a weight is used by anything but a linear or convolutional layer, there are no
    signs. Source: Wen et al. 2018, eq. 4, and section 3.2 for convolutions.

    Args:
        network: the network.
        normals: the weights to draw, by their names.
    """

    def __init__(self, network: nn.Module, normals: Mapping[str, NormalWeight]) -> None:
        super().__init__(network, self._draw, normals)
        self._normals = normals
        self._split: dict[int, tuple[Tensor, Tensor]] = {}  # of what was drawn: mean and noise
        self._signs: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}

    def _draw(self, draw: Tensor | None) -> dict[str, Tensor]:
        drawn = {}
        for name, normal in self._normals.items():
            noise = normal.noise()
            drawn[name] = normal.mean + noise
            self._split[id(drawn[name])] = normal.mean, noise
        return drawn

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `func`, with signs if it is a layer."""
        kwargs = kwargs or {}
        if func in _LAYERS:
            layer, x, weight, bias = layer_call(func, args, kwargs)
            if id(weight) in self._split:
                return self._flipped(layer, x, weight, bias)
        return super().__torch_function__(func, types, args, kwargs)

    def _flipped(
        self, layer: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        mean, noise = self._split[id(weight)]
        bias_mean, bias_noise = self._split.get(id(bias), (bias, None))
        channels = 1 - weight.ndim  # the dimension of the input that they are on
        examples = len(x) if x.ndim >= weight.ndim else 1
        key = id(weight), examples
        if key not in self._signs:
            sizes = x.shape[channels], len(weight)
            with self:
                self._signs[key] = _signs(examples, sizes[0], x), _signs(examples, sizes[1], x)
        flip_in, flip_out = (_beside(signs, x.ndim, channels) for signs in self._signs[key])
        return layer(x, mean, bias_mean) + flip_out * layer(x * flip_in, noise, bias_noise)


def _signs(examples: int, channels: int, like: Tensor) -> Tensor:
    """Return 1 or -1 with even odds, for each example and channel."""
    bits = torch.randint(2, (examples, channels), dtype=like.dtype, device=like.device)
    return 2 * bits - 1


def _beside(signs: Tensor, ndim: int, channels: int) -> Tensor:
    """Return the signs in a shape that broadcasts against inputs or outputs of a layer."""
    shape = [1] * ndim
    shape[channels] = signs.shape[1]
    if ndim >= 1 - channels:
        shape[0] = len(signs)
    return signs.view(shape)
