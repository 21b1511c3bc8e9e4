"""Nested tuples, lists and dictionaries of tensors, as torch calls take and return them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

__all__ = ["leaves", "rebuilt", "tensors"]


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
