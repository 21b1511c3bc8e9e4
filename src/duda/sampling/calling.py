"""Calling a network that somebody else wrote: named inputs, and outputs with logits in them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from duda.batches import Batch

__all__ = ["raw_outputs"]


def raw_outputs(network: nn.Module, x: Batch) -> Tensor:
    """Return what the network puts out for `x`, as one tensor.

    Named inputs become keyword arguments. Of an output that has `logits`, as those of Hugging Face
    do, these are taken.

    Raises:
        TypeError: if the network returns something else.

    >>> import torch
    >>> raw_outputs(nn.Flatten(), {"input": torch.ones(2, 1, 1)})
    tensor([[1.],
            [1.]])
    """
    outputs = network(**x) if isinstance(x, Mapping) else network(x)
    logits = outputs.get("logits") if isinstance(outputs, Mapping) else None
    logits = getattr(outputs, "logits", logits)
    for found in (outputs, logits):
        if isinstance(found, Tensor):
            return found
    raise TypeError(
        f"the network returned a {type(outputs).__name__}, expected one tensor of raw outputs, or "
        "something with `.logits`: wrap it in a module that returns only these."
    )
