"""Several tensors as one, side by side, and apart again: outputs and targets of several tasks.

What is one tensor goes through all that knows of no others: draws, chunks, captures, devices. What
it is made of is told by its width, which is one more where that would mean another thing, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from duda.transfer import wide

__all__ = ["apart", "by_name", "in_words", "packed"]


class _Part(NamedTuple):
    """What a row of a tensor is: its shape, and whether of whole numbers, truths or floats."""

    shape: tuple[int, ...]
    kind: str


_Layout = tuple[_Part, ...]
_layouts: dict[tuple[str, ...], dict[int, _Layout]] = {}


def packed(parts: Mapping[str, Tensor], dim: int = 1, *, exact: bool = False) -> Tensor:
    """Return tensors with the same `dim` first dimensions as one, which has one more.

    Args:
        parts: tensors of any dtypes, by name.
        dim: the number of dimensions that they share.
        exact: take the longest floats that their device has, so that whole numbers stay the same.

    >>> both = packed({"class": torch.tensor([7]), "box": torch.ones(1, 2, 2)}, exact=True)
    >>> both, apart(both, ("class", "box"))["class"]
    (tensor([[7., 1., 1., 1., 1.]], dtype=torch.float64), tensor([7]))
    """
    layout = tuple(_Part(tuple(each.shape[dim:]), _kind(each)) for each in parts.values())
    values = [each.to(wide(each.device)) if exact else each for each in parts.values()]
    rows = [each.reshape(*each.shape[:dim], prod(each.shape[dim:])) for each in values]
    whole, width = torch.cat(rows, dim), _width(tuple(parts), layout)
    return F.pad(whole, (0, width - whole.shape[dim])) if width > whole.shape[dim] else whole


def apart(whole: Tensor, names: tuple[str, ...], dim: int = 1) -> dict[str, Tensor]:
    """Return the tensors that were packed by these names, on dimensions from `dim` on.

    Raises:
        LookupError: if nobody has packed such a tensor.
    """
    layout = _layouts.get(names, {}).get(whole.shape[dim]) if whole.ndim == dim + 1 else None
    if layout is None:
        raise LookupError(f"nothing that is called {names} was packed like {tuple(whole.shape)}")
    found, place = {}, 0
    for name, part in zip(names, layout, strict=True):
        count = prod(part.shape)
        values = whole.narrow(dim, place, count).reshape(*whole.shape[:dim], *part.shape)
        found[name] = values if part.kind == "float" else values.to(_DTYPES[part.kind])
        place += count
    return found


def by_name(given: Any, names: tuple[str, ...], what: str) -> dict[str, Tensor]:
    """Return tensors by name, of a dict or an object, or of a tuple in their order.

    Args:
        given: what holds them; what else is in a dict or an object is left there.
        names: those that are wanted.
        what: they are, for errors.

    Raises:
        ValueError: if one is missing, a tuple has more, or they differ in the number of rows.
        TypeError: if one is no tensor.

    >>> by_name((torch.zeros(2), torch.ones(2)), ("class", "box"), "targets")["box"]
    tensor([1., 1.])
    """
    parts = _parts(given, names, what)
    missing = [name for name in names if name not in parts]
    if missing:
        found = in_words(given) if isinstance(given, Mapping) and given else _noun(given)
        raise ValueError(
            f"{what} are {found}, expected {in_words(names)}: {in_words(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing."
        )
    for name, each in parts.items():
        if not isinstance(each, Tensor):
            raise TypeError(f"{what} have {_noun(each)} as {name!r}, expected a tensor.")
    rows = {name: len(each) if each.ndim else 0 for name, each in parts.items()}
    if len(set(rows.values())) > 1 or not all(each.ndim for each in parts.values()):
        shapes = in_words(tuple(each.shape) for each in parts.values())
        raise ValueError(
            f"{what} {in_words(names)} have shapes {shapes}, expected the same examples on "
            "dimension 0 of each."
        )
    return parts


def _parts(given: Any, names: tuple[str, ...], what: str) -> dict[str, Any]:
    if isinstance(given, Mapping):
        return {name: given[name] for name in names if name in given}
    if isinstance(given, tuple | list) and not hasattr(given, "_fields"):
        if len(given) > len(names):
            raise ValueError(
                f"{what} are {len(given)}, expected {len(names)}: {in_words(names)} in this order."
            )
        return dict(zip(names, given, strict=False))
    if isinstance(given, Tensor):  # which has attributes of many names
        return {}
    return {name: getattr(given, name) for name in names if hasattr(given, name)}


def _noun(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"one tensor of shape {tuple(value.shape)}"
    if isinstance(value, tuple | list):
        return f"{len(value)} without names"
    return f"a {type(value).__name__}"


def in_words(names: Iterable[Any]) -> str:
    """Return names in words.

    >>> in_words(["class", "box"])
    "'class' and 'box'"
    """
    *first, last = map(repr, names)
    return f"{', '.join(first)} and {last}" if first else last


_DTYPES = {"int": torch.int64, "bool": torch.bool}


def _kind(values: Tensor) -> str:
    if values.is_floating_point():
        return "float"
    return "bool" if values.dtype == torch.bool else "int"


def _width(names: tuple[str, ...], layout: _Layout) -> int:
    """Return the width that says this layout of these names, and no other."""
    known = _layouts.setdefault(names, {})
    width = sum(prod(part.shape) for part in layout)
    while known.setdefault(width, layout) != layout:
        width += 1
    return width
