"""Batches of inputs: a tensor, or tensors by the places and names that a network takes them by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from duda.checks import check_finite, check_not_empty
from duda.inside import modules_in
from duda.transfer import sent

__all__ = [
    "Batch",
    "arguments_of",
    "check_batch",
    "check_rows",
    "dtype_for",
    "each_input",
    "joined",
    "named_parts",
    "of_batch",
    "rows_of",
    "suited",
    "weight_like",
]

# Of several inputs those that a network takes by place have numbers for names, from 0.
Batch = Tensor | dict[Any, Tensor]


def each_input(x: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """Return the batch with its tensor, or each of its tensors, changed.

    >>> import torch
    >>> each_input({"a": torch.ones(1), "b": torch.zeros(1)}, lambda tensor: tensor + 1)
    {'a': tensor([2.]), 'b': tensor([1.])}
    """
    if isinstance(x, Mapping):
        return {name: change(value) for name, value in x.items()}
    return change(x)


def joined(batches: Sequence[Batch]) -> Batch:
    """Return the examples of several batches as one.

    >>> joined([{"a": torch.zeros(1)}, {"a": torch.ones(2)}])
    {'a': tensor([0., 1., 1.])}
    """
    parts: Any = batches
    if isinstance(batches[0], Mapping):
        return {name: torch.cat([part[name] for part in parts]) for name in batches[0]}
    return torch.cat(parts)


def rows_of(x: Batch) -> int:
    """Return the number of examples of a batch."""
    if isinstance(x, Tensor):  # whose own length is a call of Python
        return x.shape[0]
    return len(next(iter(x.values())) if isinstance(x, Mapping) else x)


def arguments_of(x: Batch) -> tuple[list[Any], dict[str, Any]]:
    """Return what a network is called with: inputs by place, and inputs by name.

    >>> arguments_of({0: torch.ones(1), "scale": torch.zeros(1)})
    ([tensor([1.])], {'scale': tensor([0.])})
    """
    if not isinstance(x, Mapping):
        return [x], {}
    places = sorted(name for name in x if isinstance(name, int))
    named = {name: value for name, value in x.items() if not isinstance(name, int)}
    return [x[place] for place in places], named


def weight_like(network: nn.Module) -> Tensor:
    """Return the weight or buffer whose device and dtype inputs get.

    It is the first floating-point or complex weight, or else such a buffer. Those of 8 bits do not
    count, nor integers: no network computes in these, and inputs would lose their digits. A network
    without any takes inputs as they are.

    >>> weight_like(nn.Linear(1, 1, dtype=torch.float64)).dtype
    torch.float64
    """
    first: Tensor | None = None
    modules = modules_in(network)
    weights = (each for module in modules for each in module._parameters.values())
    buffers = (each for module in modules for each in module._buffers.values())
    for each in chain(weights, buffers):
        if each is not None and _computed_in(each.dtype):
            return each
        first = each if first is None else first
    return torch.empty(0, dtype=torch.uint8) if first is None else first


def _computed_in(dtype: torch.dtype) -> bool:
    return dtype.is_complex or (dtype.is_floating_point and dtype.itemsize > 1)


def dtype_for(values: torch.dtype, weight: torch.dtype) -> torch.dtype | None:
    """Return the dtype that inputs of some dtype get beside a weight; None leaves them as they are.

    >>> dtype_for(torch.float64, torch.complex64), dtype_for(torch.int64, torch.float32)
    (torch.float32, None)
    """
    if not _computed_in(weight) or not (values.is_floating_point or values.is_complex):
        return None
    if values.is_complex:  # those of 16 bits are hardly known to torch
        return torch.promote_types(weight, torch.complex64)
    return weight.to_real()


def suited(x: Batch, network: nn.Module) -> Batch:
    """Return inputs on the device of the network's weights, and numbers in their dtype.

    >>> suited(torch.ones(1, dtype=torch.float64), nn.Linear(1, 1)).dtype
    torch.float32
    """
    like = weight_like(network)
    return each_input(x, lambda part: sent(part, like.device, dtype_for(part.dtype, like.dtype)))


def named_parts(x: Any, y: Any, name: str, number: int | None = None) -> list[tuple[str, Any]]:
    """Return inputs and targets with their names: `x['ids'] of batch 2 of data`."""
    of = of_batch(name, number)
    inputs = [(f"x{of}", x)]
    if isinstance(x, dict):
        inputs = [(f"x[{key!r}]{of}", part) for key, part in x.items()]
    return inputs if y is None else [*inputs, (f"y{of}", y)]


def of_batch(name: str, number: int | None = None) -> str:
    """Return what follows on the name of inputs in an error; inputs alone are just `x`.

    >>> of_batch("data", 2), of_batch("x")
    (' of batch 2 of data', '')
    """
    batch = "" if number is None else f" of batch {number}"
    return batch if name == "x" else f"{batch} of {name}"


def check_rows(x: Any, y: Tensor | None, name: str, number: int | None = None) -> None:
    """Raise a `ValueError` unless there are as many of all inputs and targets, and at least one."""
    if isinstance(x, dict) and not x:
        raise ValueError(f"`x{of_batch(name)}` is empty, expected at least one input by its name.")
    named = named_parts(x, y, name, number)
    for kind, part in named:
        if part.ndim == 0:
            raise ValueError(f"`{kind}` is one number, expected examples on dimension 0.")
        check_not_empty(part, kind)
    where = name if number is None else f"batch {number} of {name}"
    inputs = len(named[0][1])
    if isinstance(x, dict) and len({len(part) for part in x.values()}) > 1:
        counts = {key: len(part) for key, part in x.items()}
        raise ValueError(
            f"`{where}` has inputs for {counts} examples, expected as many for each name."
        )
    if y is not None and len(y) != inputs:
        raise ValueError(
            f"`{where}` has {inputs} inputs but {len(y)} targets, expected one target for each."
        )


def check_batch(x: Batch, y: Tensor | None, name: str, number: int | None = None) -> None:
    """Raise a `ValueError` if inputs or targets are not finite, or differ in number.

    Args:
        x: inputs of a batch, or of all examples.
        y: their targets, if there are some.
        name: of the argument that they came as.
        number: of the batch, counted from 1.
    """
    check_rows(x, y, name, number)
    for kind, values in named_parts(x, y, name, number):
        check_finite(values, kind, held=values.nbytes)
