"""BatchEnsemble: members that share their weights but for two vectors in each layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from duda.batches import Batch, each_input
from duda.likelihoods import Likelihood
from duda.methods.base import check_count, check_network
from duda.methods.ensemble import Ensemble
from duda.methods.sampler import Sampler, network_sampler
from duda.sampling import (
    DrawnWeights,
    LayerChoice,
    layer_call,
    tensors,
    weight_layers,
)

__all__ = ["BatchEnsemble"]

_LAYERS = (
    F.linear,
    F.conv1d,
    F.conv2d,
    F.conv3d,
    F.conv_transpose1d,
    F.conv_transpose2d,
    F.conv_transpose3d,
)


class BatchEnsemble(Ensemble):
    """Members with weights W ∘ s rᵀ: one W for all, the vectors r and s and a bias for each.

    They start from random signs in r and s, so that none of them is the network as it was given.
    In training every example goes through every member, as one batch that is `members` times as
    large, over which BatchNorm takes its statistics. Source: Wen et al. 2020, eq. 2 to 5.

    Args:
        network: any module with linear or convolutional layers.
        likelihood: what its raw outputs mean.
        members: how many.
        layers: which layers have vectors, as in `duda.sampling.weight_layers`; by default all that
            are linear or convolutional. What comes before the first of them runs once.

    >>> import duda, torch
    >>> model = duda.BatchEnsemble(torch.nn.Linear(10, 3), duda.Categorical(), members=4)
    >>> sum(weight.numel() for weight in model.parameters())  # 33, and 4 times 10 + 3 + 3
    97
    """

    def __init__(
        self,
        network: nn.Module,
        likelihood: Likelihood,
        members: int = 4,
        layers: LayerChoice = None,
    ) -> None:
        super().__init__(likelihood, check_count(members, "members"))
        self.network = check_network(network)
        self.members, self.layers = self.size, layers
        self._vectors = {
            name: _vectors(layer, self.size) for name, layer in _chosen(network, layers).items()
        }
        self.vectors = nn.ModuleList(self._vectors.values())

    def forward(self, x: Batch) -> Tensor:
        """Return the raw outputs of a member drawn at random."""
        return self._outputs(x, torch.randint(self.size, ()))

    def training_loss(self, x: Batch, y: Shaped[Tensor, "N *targets"]) -> Tensor:
        """Return the mean of -log p(y | x) over examples and members, in nats."""
        members = torch.arange(self.size).repeat_interleave(len(y))
        outputs = self._outputs(each_input(x, self._for_each), members)
        return self.data_losses(outputs.chunk(self.size), y).mean()

    def sampler(self, samples: int, joint: bool = False) -> Sampler:
        """Return what gives the outputs of the first `samples` members, some at a time."""
        self.check_members(samples)
        return network_sampler(
            self.network, samples, lambda x: self._weights, seed=0, shared=joint, joint=True
        )

    def _weights(self) -> RankOneWeights:
        return RankOneWeights(self.network, self._vectors)

    def _outputs(self, x: Batch, members: Tensor) -> Tensor:
        """Return raw outputs by one member, or by one for each example."""
        mode = self._weights()
        mode.draw = members.to(next(self.vectors.parameters()).device)
        with mode:
            return mode.call(self.network, x)

    def _for_each(self, values: Tensor) -> Tensor:
        """Return the examples, once for each member."""
        return values.repeat(self.size, *[1] * (values.ndim - 1))


def _chosen(network: nn.Module, layers: LayerChoice) -> dict[str, nn.Linear | _ConvNd]:
    """Return the layers to give vectors to, by the names of their weights, each weight once."""
    chosen: dict[str, nn.Linear | _ConvNd] = {}
    others = []
    seen: set[int] = set()
    for name, layer in weight_layers(network, layers).items():
        if not isinstance(layer, nn.Linear | _ConvNd) or "weight" not in layer._parameters:
            others.append(f"{name!r} ({type(layer).__name__})")
        elif id(layer.weight) not in seen:
            seen.add(id(layer.weight))
            chosen[f"{name}.weight" if name else "weight"] = layer
    if not chosen or (others and layers is not None):
        raise ValueError(
            f"BatchEnsemble cannot use {', '.join(others)}: expected linear or convolutional "
            "layers, which alone have an input and an output vector for each member."
        )
    return chosen


def _vectors(layer: nn.Linear | _ConvNd, members: int) -> MemberVectors:
    if isinstance(layer, nn.Linear):
        channels = layer.in_features, layer.out_features
    else:
        channels = layer.in_channels, layer.out_channels
    return MemberVectors(members, *channels, layer.weight, bias=layer.bias is not None)


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
        # Views are told from the weights, which other layers may use as they are.
        weights = dict(network.named_parameters(remove_duplicate=False))
        views = {name: weights[name].view_as(weights[name]) for name in vectors}
        super().__init__(network, lambda _: views, views)
        self._layers = {id(view): (name, vectors[name]) for name, view in views.items()}

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `func`, between the member's vectors if it is a layer."""
        kwargs = kwargs or {}
        self.note_reads(args, kwargs)
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
        result = super().__torch_function__(func, types, args, kwargs)
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
