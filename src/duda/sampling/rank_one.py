"""Members that differ from one network by two vectors in each layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from duda.sampling.calls import layer_call, tensors
from duda.sampling.randomness import DrawnWeights

__all__ = ["MemberVectors", "RankOneWeights"]

_LAYERS = (
    F.linear,
    F.conv1d,
    F.conv2d,
    F.conv3d,
    F.conv_transpose1d,
    F.conv_transpose2d,
    F.conv_transpose3d,
)


class MemberVectors(nn.Module):
    """What the members have of their own in a layer: r, s and, if it has a bias, what adds to it.

    The signs of r and s are random at the start, and the bias is the layer's.
    Source: Wen et al. 2020.

    Args:
        members: how many there are.
        inputs: input channels, for each an entry of r.
        outputs: output channels, for each an entry of s.
        like: the layer's weight, for dtype and device.
        bias: whether there is a bias.
    """

    def __init__(
        self, members: int, inputs: int, outputs: int, like: Tensor, *, bias: bool
    ) -> None:
        super().__init__()

        def signs(channels: int) -> nn.Parameter:
            bits = torch.randint(2, (members, channels), dtype=like.dtype, device=like.device)
            return nn.Parameter(2 * bits - 1)

        self.r, self.s = signs(inputs), signs(outputs)
        zeros = torch.zeros(members, outputs, dtype=like.dtype, device=like.device)
        self.bias = nn.Parameter(zeros) if bias else None


class RankOneWeights(DrawnWeights):
    """Gives layers the weight W ∘ s rᵀ of a member, as s ∘ (W (r ∘ x)).

    So W meets the inputs of all members in one product. The member is the number of the draw, or,
    where `draw` has one number for each example, that of the example on dimension 0.
    Source: Wen et al. 2020, eq. 2 to 5.

    Args:
        network: the network.
        vectors: those of each layer, by the name of its weight.
    """

    def __init__(self, network: nn.Module, vectors: Mapping[str, MemberVectors]) -> None:
        # Nothing is shared between draws that touches a tensor of which the engine's memory does
        # not know, as it does not of views that were made before it watches.
        weights = dict(network.named_parameters(remove_duplicate=False))
        views = {name: weights[name].view_as(weights[name]) for name in vectors}
        super().__init__(network, lambda _: views)
        self._layers = {id(view): (name, vectors[name]) for name, view in views.items()}

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `func`, between the member's vectors if it is a layer."""
        kwargs = kwargs or {}
        if func in _LAYERS:
            layer, x, weight, bias = layer_call(func, args, kwargs)
            if id(weight) in self._layers:
                name, vectors = self._layers[id(weight)]
                r, s = self._of_members(vectors.r), self._of_members(vectors.s)
                self._check_examples(name, x, weight, len(r))
                outputs = layer(x * _beside(r, x, weight), weight, None)
                outputs = outputs * _beside(s, outputs, weight)
                if bias is None or vectors.bias is None:
                    return outputs
                return outputs + _beside(bias + self._of_members(vectors.bias), outputs, weight)
        result = func(*args, **kwargs)
        used = [self._layers[id(t)][0] for t in tensors((args, kwargs)) if id(t) in self._layers]
        if used and any(True for _ in tensors(result)):
            raise ValueError(
                f"the network uses {used[0]!r} in {func.__name__}, expected only linear and "
                "convolutional layers to use it: choose others by `layers`."
            )
        return result

    def _of_members(self, vectors: Tensor) -> Tensor:
        """Return the vector of the draw's member, or of each example's, as `(1 or N, channels)`."""
        return vectors[self.draw.reshape(-1)]  # type: ignore[union-attr]

    def _check_examples(self, name: str, x: Tensor, weight: Tensor, examples: int) -> None:
        if examples > 1 and (x.ndim < weight.ndim or len(x) != examples):
            raise ValueError(
                f"the layer of {name!r} takes an input of shape {tuple(x.shape)}, expected the "
                f"{examples} examples of all members on dimension 0: choose other layers by "
                "`layers`."
            )


def _beside(vectors: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """Return the vectors in a shape that broadcasts against a layer's inputs or outputs."""
    channels = 1 - weight.ndim  # the dimension that they are on
    shape = [1] * x.ndim
    if x.ndim >= weight.ndim:
        shape[0] = len(vectors)
    shape[channels] = vectors.shape[1]
    return vectors.view(shape)
