"""Items: what in a batch, or in all data at once, is an input, and what is a target.

An item is by rule

- a tensor or array, or a dict of them, which the network takes as keyword arguments,
- a pair `(x, y)` of inputs and targets, of which the inputs may also be a tuple of several, or
- a dict with its targets in it, as `labels`, `label` or `y`.

Of anything else a function `inputs=` from an item to `(args, kwargs, y)` says what it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from duda.batches import Batch

__all__ = ["SAY", "ItemRule", "no_item", "split", "taken_by", "tensors_of", "told"]

# From an item to what the network is called with by place and by name, and the targets.
ItemRule = Callable[[Any], tuple[Sequence[Any], Mapping[str, Any], Any]]

_TARGETS = ("labels", "label", "y")
SAY = "say by `inputs=lambda item: (args, kwargs, y)` what is what"


def taken_by(network: nn.Module | None) -> dict[str, bool]:
    """Return which of the names `label` and `y` a network takes as inputs, and if it needs them.

    >>> class Place(nn.Module):
    ...     def forward(self, x, y): ...
    >>> taken_by(Place())
    {'y': True}
    """
    try:
        parameters = {} if network is None else inspect.signature(network.forward).parameters
    except ValueError:  # as of some scripted modules
        return {}
    names = [name for name in _TARGETS[1:] if name in parameters]  # to all `labels` are targets
    return {name: parameters[name].default is inspect.Parameter.empty for name in names}


def split(item: Any, taken: Mapping[str, bool] | None = None) -> tuple[Any, Any]:
    """Return inputs and targets of an item by the rule that this module tells, or None for them."""
    if isinstance(item, Mapping):
        needed = {name for name, needs in (taken or {}).items() if needs}
        found = [name for name in _TARGETS if name in item and name not in needed]
        if len(found) > 1 or any(name in (taken or {}) for name in found):
            raise TypeError(
                f"an item has {' and '.join(map(repr, found))}, expected one name for its targets, "
                f"which is no input of the network: {SAY}."
            )
        x = {name: value for name, value in item.items() if name not in found}
        return x, item[found[0]] if found else None
    if isinstance(item, tuple | list):
        if len(item) == 2:
            return item[0], item[1]
        return (item[0], None) if len(item) == 1 else (None, None)
    return item, None


def told(item: Any, rule: ItemRule) -> tuple[Any, Any]:
    """Return inputs and targets as a user's function tells them.

    Raises:
        TypeError: if it returns something else.
    """
    found = rule(item)
    if isinstance(found, tuple) and len(found) == 3:
        args, kwargs, y = found
        if isinstance(args, tuple | list) and isinstance(kwargs, Mapping) and (args or kwargs):
            alone = len(args) == 1 and not kwargs
            return (args[0] if alone else dict(enumerate(args)) | dict(kwargs)), y
    raise TypeError(
        f"`inputs` returned a {type(found).__name__}{_parts(found)}, expected `(args, kwargs, y)`: "
        "a tuple of inputs by place, a dict of inputs by name, and targets or None."
    )


def tensors_of(x: Any) -> Batch | None:
    """Return a tensor, or several by their places or names, or None for anything else."""
    if isinstance(x, tuple | list) and len(x) == 1:
        return tensors_of(x[0])
    several = dict(enumerate(x)) if isinstance(x, tuple | list) else x
    if isinstance(several, Mapping):
        return dict(several) if several and not _strange(several) else None
    return x if isinstance(x, Tensor) else None


def no_item(item: Any, name: str, labelled: bool) -> str:
    """Return the sentence for a batch that is none by the rule."""
    several = isinstance(item, tuple | list) and len(item) > 2
    strange = _strange(item)
    found = f"a batch of `{name}` is a {type(item).__name__}{strange}"
    if labelled:
        expected = "a pair of tensors (inputs, targets), of which inputs may be named or several"
    else:
        found += "" if several or strange else " with no tensor first"
        expected = "inputs or pairs (inputs, targets)"
    of = f"of its {len(item)} parts " if several else ""
    return f"{found}, expected {expected}: {of}{SAY}."


def _strange(item: Any) -> str:
    """Return which of the parts with a name are no tensors, in words."""
    named = item.items() if isinstance(item, Mapping) else ()
    found = [f"{k!r} as a {type(p).__name__}" for k, p in named if not isinstance(p, Tensor)]
    return f" with {' and '.join(found)}" if found else ""


def _parts(item: Any) -> str:
    return f" of {len(item)} parts" if isinstance(item, tuple | list) else ""
