"""What makes one draw differ from the next: what happens to the network's calls, or its weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn
from torch._C._functorch import is_batchedtensor
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode

from duda.batches import Batch, rows_of
from duda.sampling.calls import raw_outputs
from duda.sampling.layers import swapped_weights

__all__ = ["DrawnWeights", "EachMember", "Randomness", "fast_in_vmap"]

_FEW_ROWS = 8


class Randomness(TorchFunctionMode):
    """Leaves all calls as they are: the network's own random numbers make the draws.

    Attributes:
        found: how many things may differ by draw, were it with p = 0.
        draw: the number of the draw; inside vmap on the axis that vmap hides.
        same_weights: whether a module has the same weights in every draw.
    """

    same_weights: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.found = 0
        self.draw: Tensor | None = None

    @property
    def vmapped(self) -> bool:
        """Whether all draws of a chunk are made at once."""
        return self.draw is not None and is_batchedtensor(self.draw)

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `func`."""
        return func(*args, **(kwargs or {}))

    def known(self, network: nn.Module) -> Iterable[Tensor]:
        """Return the weights and buffers that are the same in every draw, unless swapped."""
        return (*network.parameters(), *network.buffers())

    def call(self, network: nn.Module, x: Batch) -> Tensor:
        """Return the raw outputs of one draw."""
        return raw_outputs(network, x)


class DrawnWeights(Randomness):
    """Puts new weights into a network for each draw.

    Args:
        network: the network, which may be a part of what is called.
        weights: from the number of the draw to the weights that differ, by their names.
    """

    same_weights = False

    def __init__(
        self, network: nn.Module, weights: Callable[[Tensor | None], Mapping[str, Tensor]]
    ) -> None:
        super().__init__()
        self.network = network
        self.weights = weights

    def call(self, network: nn.Module, x: Batch) -> Tensor:
        """Return the raw outputs of the network with the weights of one draw."""
        drawn = self.weights(self.draw)
        self.found += len(drawn)
        with swapped_weights(self.network, drawn):
            return raw_outputs(self.network, x)


class EachMember(Randomness):
    """Calls another network in each draw, one draw at a time.

    Args:
        networks: what is called, and the root of the draws.
        shared: the weights and buffers that all of them have.
    """

    same_weights = False

    def __init__(self, networks: nn.ModuleList, shared: Collection[Tensor]) -> None:
        super().__init__()
        self.networks = networks
        self.shared = shared

    def known(self, network: nn.Module) -> list[Tensor]:
        """Return what is shared, but for the counters that BatchNorm writes to in training."""
        counters = {
            id(module.num_batches_tracked)
            for module in network.modules()
            if isinstance(module, _NormBase)
        }
        return [tensor for tensor in self.shared if id(tensor) not in counters]

    def call(self, network: nn.Module, x: Batch) -> Tensor:
        """Return the raw outputs of the network whose number the draw has."""
        self.found += 1
        return raw_outputs(self.networks[int(self.draw)], x)  # type: ignore[arg-type]


def fast_in_vmap(network: nn.Module, names: Collection[str], x: Batch) -> bool:
    """Return whether draws of the weights with these names are faster made at once than in turn.

    They are, but for convolutions on a CPU that follow one another: their inputs differ by draw as
    well, which makes them grouped convolutions (benchmarks/dropconnect.py).
    """
    convolutions = [
        module.weight
        for name, module in network.named_modules()
        if isinstance(module, _ConvNd) and (f"{name}.weight" if name else "weight") in names
    ]
    on_a_cpu = any(weight.device.type == "cpu" for weight in convolutions)
    return not on_a_cpu or len(convolutions) < 2 or rows_of(x) <= _FEW_ROWS
