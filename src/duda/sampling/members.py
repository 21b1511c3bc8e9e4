"""Networks that share a part of their weights: what depends on that part alone runs once."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from duda.batches import Batch
from duda.sampling.calling import raw_outputs
from duda.sampling.randomness import Randomness

__all__ = ["EachMember"]


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
