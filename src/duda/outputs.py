"""Outputs of networks: how a network is called, what is taken out of it, and that it has rows."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any
from weakref import WeakSet

from jaxtyping import Float
from torch import Tensor, nn

from duda.batches import Batch, arguments_of, rows_of
from duda.inside import modules_in
from duda.packing import by_name, in_words, packed
from duda.written import guarded

__all__ = ["called", "moves_classes", "name_heads", "raw_outputs", "with_rows"]


def called(network: nn.Module, x: Batch) -> Any:
    """Return what the network returns for `x`; named inputs become keyword arguments.

    Raises:
        TypeError: if it does not take them.

    >>> import torch
    >>> called(nn.Flatten(), {"input": torch.ones(2, 1, 1)})
    tensor([[1.],
            [1.]])
    """
    places, named = arguments_of(x)
    try:
        with guarded():
            return network(*places, **named)
    except TypeError as error:
        why = _not_taken(network, places, named)
        if why is None:
            raise
        raise TypeError(why) from error


def _not_taken(network: nn.Module, places: list[Any], named: dict[str, Any]) -> str | None:
    """Return the sentence for inputs that are none of a network's arguments, None if they are."""
    try:
        signature = inspect.signature(network.forward)
    except ValueError:  # as of some scripted modules
        return None
    try:
        signature.bind(*places, **named)
    except TypeError as error:
        takes = f"because the network takes `forward{signature}` ({error})"
        if not named:
            found = "a tuple, expected a tensor" if len(places) > 1 else "alone, expected more"
            return f"`x` is {found}, {takes}: of a pair (inputs, targets) give only the first."
        names = " and ".join(map(repr, named))
        return (
            f"`x` has the inputs {names}, expected others, {takes}: leave out what it does not "
            "take, or say by `inputs=lambda item: (args, kwargs, y)` what is what."
        )
    return None


def raw_outputs(network: nn.Module, x: Batch) -> Tensor:
    """Return what the network puts out for `x`, as one tensor.

    Of an output that has `logits`, as those of Hugging Face do, these are taken. Where they have
    three dimensions, as for tokens, their classes are last, and are moved to dimension 1. Those of
    a network that was told to have several `heads` are side by side.

    Raises:
        TypeError: if the network returns something else.

    >>> import torch
    >>> class Tagger(nn.Module):
    ...     def forward(self, x):
    ...         return {"logits": torch.zeros(*x.shape, 9)}
    >>> raw_outputs(Tagger(), torch.ones(2, 5)).shape
    torch.Size([2, 9, 5])
    """
    found = called(network, x)
    heads = vars(network).get(_HEADS)
    if heads is not None:
        return packed(by_name(found, heads, "the network's outputs"))
    if not isinstance(found, Tensor):
        found = _logits(found)
        if found.ndim == 3:
            _moved.add(network)
            found = found.movedim(-1, 1)
    return found


def name_heads(network: nn.Module, names: tuple[str, ...]) -> None:
    """Let a network have several outputs of these names, or one if there are none.

    Raises:
        ValueError: if it has some, but is to have one.
    """
    known = vars(network).get(_HEADS)
    if known is not None and not names:
        raise ValueError(
            f"`network` is that of a model with the outputs {in_words(known)}, expected one with a "
            "single output: choose it by `duda.layers.Outputs(network, ...)`, or copy the network."
        )
    if names:
        vars(network)[_HEADS] = names  # of a compiled network itself, not of the one inside


def with_rows(outputs: Tensor, x: Batch) -> Float[Tensor, "N *outputs"]:
    """Return the outputs of a network if they have one row for each example.

    Raises:
        ValueError: if they have not.
    """
    if outputs.ndim and len(outputs) == rows_of(x):
        return outputs
    raise ValueError(_other_rows(outputs, x))


def moves_classes(network: nn.Module) -> bool:
    """Return whether the classes of its outputs were last, and `raw_outputs` has moved them."""
    return any(module in _moved for module in modules_in(network)) if _moved else False


_moved: WeakSet[nn.Module] = WeakSet()
_HEADS = "_duda_heads"  # a network's attribute, which copies of it have, too


def _logits(outputs: Any) -> Tensor:
    logits = outputs.get("logits") if isinstance(outputs, Mapping) else None
    logits = getattr(outputs, "logits", logits)
    if isinstance(logits, Tensor):
        return logits
    raise TypeError(
        f"the network returned a {type(outputs).__name__}, expected one tensor of raw outputs, or "
        "something with `.logits`: choose from it by `duda.layers.Outputs(network, ...)`."
    )


def _other_rows(outputs: Tensor, x: Batch) -> str:
    """Return the sentence for outputs that have not one row for each example."""
    rows, found = rows_of(x), tuple(outputs.shape)
    places, named = arguments_of(x)
    inputs = [tuple(each.shape) for each in (*places, *named.values())]
    remedy = "let it keep the examples on dimension 0"
    if rows == 1:
        remedy = "it may drop a dimension of size 1: name the dimension, as in `squeeze(1)`"
    elif outputs.ndim == 0 or len(outputs) == 1:
        remedy = "it pools over the batch: let it pool over other dimensions"
    elif any(len(shape) > 1 and shape[1] == len(outputs) for shape in inputs):
        remedy = (
            "it takes dimension 1 for the examples: give its layers `batch_first=True`, or let it "
            "transpose inputs and outputs itself"
        )
    return (
        f"the network's outputs have shape {found} for {rows} inputs of shape "
        f"{' and '.join(map(str, inputs))}, expected a row for each, ({rows}, ...): {remedy}."
    )
