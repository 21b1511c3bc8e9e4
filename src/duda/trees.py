"""Nested states: what is in them, and as JSON and named tensors and back, without pickle."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from duda.files import json_number

__all__ = ["checksum", "flatten", "rebuilt", "tensors", "unflatten"]


def flatten(tree: Any, tensors: dict[str, Tensor], name: str = "") -> Any:
    """Return `tree` as JSON, its tensors copied into `tensors`, named by where they stood.

    Dicts keep the type of their keys, tuples stay tuples, and numpy's numbers become Python's.

    Raises:
        TypeError: if there is anything but dicts, lists, tuples, tensors, numbers, strings or None.

    >>> flatten({0: (1.5, None)}, {})
    {'dict': [[0, {'tuple': [1.5, None]}]]}
    >>> tensors = {}
    >>> flatten({"head": [torch.zeros(2)]}, tensors), list(tensors)
    ({'dict': [['head', {'list': [{'tensor': 'head.0'}]}]]}, ['head.0'])
    """
    if isinstance(tree, Tensor):
        while name in tensors or not name:
            name += "_"
        # The format refuses gaps, and two names for the same memory.
        tensors[name] = tree.detach().cpu().clone(memory_format=torch.contiguous_format)
        return {"tensor": name}
    if isinstance(tree, np.generic):
        tree = tree.item()
    if isinstance(tree, float) and not math.isfinite(tree):
        return {"float": json_number(tree)}
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return tree
    if isinstance(tree, dict):
        parts = [[key, flatten(value, tensors, _under(name, key))] for key, value in tree.items()]
        return {"dict": parts}
    for kind, noun in ((list, "list"), (tuple, "tuple")):
        if isinstance(tree, kind):
            return {noun: [flatten(each, tensors, _under(name, i)) for i, each in enumerate(tree)]}
    raise TypeError(
        f"a file cannot hold the {type(tree).__name__} at {name!r}, expected tensors, numbers, "
        "strings, dicts and lists."
    )


def unflatten(node: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return the tree that `flatten` took apart.

    >>> unflatten(flatten({0: (1.5, float("inf"))}, {}), {})
    {0: (1.5, inf)}
    """
    if not isinstance(node, dict):
        return node
    [(kind, content)] = node.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "float":
        return float(content or "nan")
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


def rebuilt(like: Any, items: list[Any]) -> Any:
    """Return `items` in the type of `like`: a list, a tuple or one with names."""
    return type(like)(*items) if hasattr(like, "_fields") else type(like)(items)


def tensors(tree: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested tuples, lists and dictionaries.

    >>> [each.shape for each in tensors({"a": (torch.zeros(1), 2.0)})]
    [torch.Size([1])]
    """
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, (tuple, list)):
        for item in tree:
            yield from tensors(item)
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from tensors(item)


def _under(name: str, key: object) -> str:
    return f"{name}.{key}" if name else str(key)
