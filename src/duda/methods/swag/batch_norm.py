"""BatchNorm for weights that were never trained with: its statistics, computed anew for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from duda.batches import Batch, each_input, rows_of
from duda.sampling import raw_outputs, swapped_weights
from duda.transfer import numbers_in, sent, together

__all__ = ["TrainedNorms", "batch_norms", "refreshed_statistics"]

_ROWS = 128  # in a pass


def batch_norms(network: nn.Module) -> dict[str, _BatchNorm]:
    """Return the BatchNorm layers that keep statistics, by name.

    >>> list(batch_norms(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))))
    ['1']
    """
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None
    }


class TrainedNorms(nn.Module):
    """Knows which BatchNorm layers of a network train, and are not held in eval mode meanwhile.

    Those that train count their batches.
    """

    steps: Tensor
    trains: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        norms = len(batch_norms(network))
        self.register_buffer("steps", torch.full((norms,), -1))  # unknown
        self.register_buffer("trains", torch.zeros(norms, dtype=torch.bool))

    def start(self, network: nn.Module) -> None:
        """Take note that a training starts."""
        self.steps.copy_(_steps(network))
        self.trains.zero_()

    def note(self, network: nn.Module) -> None:
        """Take note of what has trained since the start, or the last note."""
        now = sent(_steps(network), self.steps.device)
        self.trains |= (self.steps >= 0) & (now > self.steps)
        self.steps.copy_(now)

    def of(self, network: nn.Module) -> dict[str, _BatchNorm]:
        """Return the layers that have trained, by name."""
        named = zip(batch_norms(network).items(), numbers_in(self.trains), strict=True)
        return {name: norm for (name, norm), trains in named if trains}


def _steps(network: nn.Module) -> Tensor:
    counts = (norm.num_batches_tracked for norm in batch_norms(network).values())
    known = [count for count in counts if count is not None]
    return together(known) if known else torch.empty(0, dtype=torch.int64)


def refreshed_statistics(
    network: nn.Module,
    norms: Mapping[str, _BatchNorm],
    weights: Mapping[str, Tensor],
    x: Batch,
) -> dict[str, Tensor]:
    """Return the statistics of BatchNorm as they are for other weights, by their names.

    They are means over batches of 128 or fewer inputs, with all other layers in the modes that they
    have; the network stays as it is. Source: Izmailov et al. 2018, section 3.2.
    """
    fresh = {
        f"{name}.{kind}" if name else kind: torch.zeros_like(buffer)
        for name, norm in norms.items()
        for kind, buffer in norm.named_buffers(recurse=False)
    }
    parts = -(-rows_of(x) // _ROWS)
    with swapped_weights(network, {**weights, **fresh}), _averaging(norms):
        for part in range(parts):
            raw_outputs(
                network,
                each_input(x, lambda values, part=part: values.tensor_split(parts)[part]),  # type: ignore[misc]
            )
    return fresh


@contextmanager
def _averaging(norms: Mapping[str, _BatchNorm]) -> Iterator[None]:
    """Let BatchNorm normalise by the batch, and keep the mean of the statistics of all batches.

    With `momentum=None` it would, too, but reads for it how many there were, from its buffer.
    """
    before = [(norm, norm.training, norm.momentum) for norm in norms.values()]
    calls = Counter[nn.Module]()

    def averages(norm: nn.Module, _: object) -> None:
        calls[norm] += 1
        norm.momentum = 1 / calls[norm]  # type: ignore[assignment] # of a BatchNorm

    hooks = [norm.register_forward_pre_hook(averages) for norm, _, _ in before]
    try:
        for norm, _, _ in before:
            norm.training = True
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for norm, training, momentum in before:
            norm.training, norm.momentum = training, momentum
