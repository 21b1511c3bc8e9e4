"""Attention, in which the draws that vmap hides are more rows of one call.

Torch's kernels take any number of rows, which know nothing of each other; vmap has no rule for
them, and what it has rules for costs several times as much with it.
"""

from __future__ import annotations

import inspect
import math
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._C._functorch import is_batchedtensor

from duda.draw_axis import Axis
from duda.sampling.calls.autocast import cast
from duda.sampling.calls.dropout import Mask, drop, mask_of
from duda.sampling.calls.random_calls import Function, Handler
from duda.streams import Stream, unseen

if TYPE_CHECKING:
    from duda.sampling.randomness import Randomness

__all__ = ["ATTENTION"]

_NAMES = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")


def _layer(mode: Randomness, stream: Stream, func: Function, args: Any, kwargs: Any) -> Any:
    named = _DEFAULTS | dict(zip(_DEFAULTS, args, strict=False)) | kwargs
    named["training"] = mode.drops(named["dropout_p"], named["training"])
    tensors = {name: each for name, each in named.items() if isinstance(each, Tensor)}
    axis = Axis.of(*tensors.values())
    if axis is None or not _can_be_in_rows(tensors, axis, stream):
        return _opened(mode, stream, named)
    outputs, weights = _opened(mode, stream.in_rows(), named | _in_rows(tensors, axis))
    outputs = outputs.reshape(len(outputs), axis.size, -1, outputs.shape[-1])
    if weights is not None:
        weights = axis.hidden(weights.reshape(axis.size, -1, *weights.shape[1:]))
    return axis.hidden(outputs, 1), weights


def _can_be_in_rows(tensors: dict[str, Tensor], axis: Axis, stream: Stream) -> bool:
    """Return whether draws differ in the rows of a layer, and in nothing that these share."""
    differ = {name for name, each in tensors.items() if is_batchedtensor(each)}
    return axis == stream.axis and tensors["query"].ndim == 3 and differ <= _WITH_ROWS


def _in_rows(tensors: dict[str, Tensor], axis: Axis) -> dict[str, Tensor]:
    """Return the arguments of a layer that have rows with those of all draws."""
    rows = {id(tensors[name]): tensors[name] for name in ("query", "key", "value")}
    # The same tensors stay the same, as by that a layer knows self-attention.
    rows = {key: axis.spread(each).movedim(0, 1).flatten(1, 2) for key, each in rows.items()}
    found = {name: rows[id(tensors[name])] for name in ("query", "key", "value")}
    for name in ("key_padding_mask", "attn_mask"):
        mask = tensors.get(name)
        if mask is not None and (name == "key_padding_mask" or mask.ndim == 3):
            found[name] = axis.spread(mask).flatten(0, 1)
    return found


def _opened(mode: Randomness, stream: Stream, named: dict[str, Any]) -> Any:
    """Return what torch's own code of a layer does with an answer to what is random in it."""

    def attention(*args: Any, **kwargs: Any) -> Any:
        return _attention(mode, stream, F.scaled_dot_product_attention, args, kwargs)

    def dropout(weights: Tensor, p: float) -> Tensor:
        return drop(weights, tuple(weights.shape), p, stream)

    inside = {"scaled_dot_product_attention": attention, "dropout": dropout}
    code = F.multi_head_attention_forward
    return FunctionType(code.__code__, code.__globals__ | _UNSEEN | inside)(**named)


def _attention(mode: Randomness, stream: Stream, func: Function, args: Any, kwargs: Any) -> Any:
    arguments = cast(stream.device, dict(zip(_NAMES, args, strict=False)) | kwargs)
    p = arguments.pop("dropout_p", 0.0)
    if p == 0:  # which most networks pass in eval mode
        return _attention_in_rows(func, **arguments)
    mode.found += 1
    return _attention_in_steps(stream, p=p, **arguments)


@unseen
def _attention_in_rows(
    func: Function,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    **options: Any,
) -> Tensor:
    """Return attention of all draws by one call."""
    inputs = [query, key, value] if attn_mask is None else [query, key, value, attn_mask]
    axis = Axis.of(*inputs)
    if axis is None:
        return func(query, key, value, attn_mask, **options)  # type: ignore[no-any-return]
    found: Tensor = func(*(_more_rows(each, axis, query) for each in inputs), **options)
    if query.ndim > 2:
        found = found.reshape(axis.size, -1, *found.shape[1:])
    return axis.hidden(found)


def _more_rows(x: Tensor, axis: Axis, query: Tensor) -> Tensor:
    """Return a batch of attention, or its mask, with the rows of all draws on dimension 0."""
    x = axis.spread(x)
    x = x.reshape(axis.size, *[1] * (query.ndim + 1 - x.ndim), *x.shape[1:])
    if query.ndim == 2:  # one row
        return x
    return x.expand(-1, len(query), *x.shape[2:]).flatten(0, 1)


@unseen
def _attention_in_steps(
    stream: Stream,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    p: float,
) -> Tensor:
    """Return dropout(softmax(Q Kᵀ / √d + mask)) V: Vaswani et al. 2017, eq. 1."""
    if enable_gqa:  # several heads of queries for each of keys and values
        groups = query.shape[-3] // key.shape[-3]
        key, value = (each.repeat_interleave(groups, -3) for each in (key, value))
    if is_causal:
        form = query.shape[-2], key.shape[-2]
        attn_mask = torch.ones(form, dtype=torch.bool, device=query.device).tril()
    masks = [] if attn_mask is None else [attn_mask]
    first, *others = {each.shape[:-2]: each for each in (query, key, *masks)}
    batch = torch.broadcast_shapes(first, *others) if others else first  # type: ignore[no-untyped-call]
    mask, bits = mask_of((*batch, query.shape[-2], key.shape[-2]), p, stream, query.device)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    steps = partial(_attended, factor, mask)
    return stream.in_the_open(steps, query, key, value, bits, *masks)


def _attended(
    factor: float,
    mask: Mask,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bits: Tensor,
    attn_mask: Tensor | None = None,
) -> Tensor:
    weights = (query * factor) @ key.transpose(-2, -1)
    if attn_mask is not None and attn_mask.dtype is torch.bool:
        weights = weights.masked_fill(~attn_mask, -math.inf)
    elif attn_mask is not None:
        weights = weights + attn_mask
    return mask.dropped(weights.softmax(-1), bits) @ value


ATTENTION: dict[Function, Handler] = {
    F.multi_head_attention_forward: _layer,
    F.scaled_dot_product_attention: _attention,
}

_DEFAULTS = {
    each.name: each.default
    for each in inspect.signature(F.multi_head_attention_forward).parameters.values()
}
_WITH_ROWS = {"query", "key", "value", "key_padding_mask"}
# Torch hands a call to one mode after the other until none is left, and only then runs it.
_UNSEEN: dict[str, Any] = {
    name: lambda *_: False
    for name in F.multi_head_attention_forward.__globals__
    if name.startswith("has_torch_function")
}
