"""Nested states as JSON and named tensors, and back, without pickle."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["checksum", "flatten", "unflatten"]


def flatten(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """Return `tree` as JSON, its tensors copied into `tensors` under new names.

    Dicts keep the type of their keys, and tuples stay tuples.

    Raises:
        TypeError: if there is anything but dicts, lists, tuples, tensors, numbers, strings or None.

    >>> flatten({0: (1.5, None)}, {})
    {'dict': [[0, {'tuple': [1.5, None]}]]}
    """
    if isinstance(tree, Tensor):
        name = str(len(tensors))
        tensors[name] = tree.detach().cpu().clone().contiguous()
        return {"tensor": name}
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return tree
    if isinstance(tree, dict):
        return {"dict": [[key, flatten(value, tensors)] for key, value in tree.items()]}
    for kind, name in ((list, "list"), (tuple, "tuple")):
        if isinstance(tree, kind):
            return {name: [flatten(value, tensors) for value in tree]}
    raise TypeError(
        f"`checkpoint` cannot hold a {type(tree).__name__} of the optimizer's state, expected "
        "tensors, numbers, strings, dicts and lists."
    )


def unflatten(node: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return the tree that `flatten` took apart.

    >>> unflatten(flatten({0: (1.5, None)}, {}), {})
    {0: (1.5, None)}
    """
    if not isinstance(node, dict):
        return node
    [(kind, content)] = node.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: unflatten(value, tensors) for key, value in content}
    build: Callable[[Any], Any] = {"list": list, "tuple": tuple}[kind]
    return build(unflatten(value, tensors) for value in content)


def checksum(tensor: Tensor, start: int = 0) -> int:
    """Return the CRC-32 of the bytes of `tensor`, going on from that of others.

    >>> checksum(torch.tensor([1, 2])) == checksum(torch.tensor([2, 1]))
    False
    """
    flat = tensor.cpu().contiguous().reshape(-1).view(torch.uint8)
    return zlib.crc32(flat.numpy().data, start)
