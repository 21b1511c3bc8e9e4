"""Calls of networks, layers and torch functions: what they take, return and write to."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from torch import Tensor, nn

from duda.batches import Batch

__all__ = ["layer_call", "leaves", "raw_outputs", "rebuilt", "tensors", "written"]


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


_ARGUMENTS = ("input", "weight", "bias")


def layer_call(
    func: Callable[..., Tensor], args: Any, kwargs: dict[str, Any]
) -> tuple[Callable[..., Tensor], Tensor, Tensor, Tensor | None]:
    """Return a call of a layer as a function of input, weight and bias, and what these are."""
    given = dict(zip(_ARGUMENTS, args, strict=False)) | kwargs
    options = {name: value for name, value in kwargs.items() if name not in _ARGUMENTS}

    def layer(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return func(x, weight, bias, *args[len(_ARGUMENTS) :], **options)

    return layer, given["input"], given["weight"], given.get("bias")


def leaves(tree: Any) -> Iterator[Any]:
    """Yield what is in nested tuples, lists and dictionaries."""
    if isinstance(tree, (tuple, list)):
        for item in tree:
            yield from leaves(item)
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from leaves(item)
    else:
        yield tree


def tensors(tree: Any) -> Iterator[Tensor]:
    """Yield the tensors among them."""
    return (leaf for leaf in leaves(tree) if isinstance(leaf, Tensor))


def rebuilt(like: Any, items: list[Any]) -> Any:
    """Return `items` in the type of `like`: a list, a tuple or one with names."""
    return type(like)(*items) if hasattr(like, "_fields") else type(like)(items)


def written(func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Tensor | None:
    """Return the tensor that `func` writes to in place, or None.

    >>> import torch
    >>> x = torch.zeros(2)
    >>> written(torch.Tensor.add_, (x, 1), {}) is x, written(torch.add, (x, 1), {}) is None
    (True, True)
    """
    out = kwargs.get("out")
    if isinstance(out, Tensor):
        return out
    name = getattr(func, "__name__", "")
    place = _inplace_position(func)
    asked = kwargs.get("inplace", place is not None and len(args) > place and args[place])
    if asked or name in ("__setitem__", "__set__") or (name.endswith("_") and name[-2:] != "__"):
        first = args[0] if args else kwargs.get("input")
        return first if isinstance(first, Tensor) else None
    return None


@lru_cache(maxsize=1024)
def _inplace_position(func: Callable[..., Any]) -> int | None:
    """Return where `func` takes its argument `inplace`, if it has one."""
    if not inspect.isfunction(func):  # those of C end in an underscore instead
        return None
    names = list(inspect.signature(func, follow_wrapped=False).parameters)
    return names.index("inplace") if "inplace" in names else None
