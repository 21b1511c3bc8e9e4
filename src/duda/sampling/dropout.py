"""Dropout wherever it hides: modules, functions, attention and recurrent layers."""

from __future__ import annotations

import inspect
import math
import types
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._C._functorch import (
    _add_batch_dim,
    get_unwrapped,
    is_batchedtensor,
    maybe_get_bdim,
    maybe_get_level,
)

from duda.sampling.random_calls import Function, Handler
from duda.streams import Stream, unseen

if TYPE_CHECKING:
    from duda.sampling.randomness import Randomness

__all__ = ["DROPOUT", "NeedsLoop", "drop"]

_PLAIN = (F.dropout, torch.dropout, torch.dropout_)
_CHANNELS = {F.dropout1d: 3, F.dropout2d: 4, F.dropout3d: 5}  # and the inputs' dimensions with N
_ALPHA_CHANNELS = (
    F.feature_alpha_dropout,
    torch.feature_alpha_dropout,
    torch.feature_alpha_dropout_,
)
_ALPHA = (F.alpha_dropout, torch.alpha_dropout, torch.alpha_dropout_, *_ALPHA_CHANNELS)
_CHANNELS_OF_ANY = (torch.feature_dropout, torch.feature_dropout_, *_ALPHA_CHANNELS)
_RECURRENT = (torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu)
_ATTENTION_NAMES = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
_SELU_FLOOR = -1.7580993408473766  # what SELU tends to, which alpha dropout puts in


class NeedsLoop(RuntimeError):
    """Raised inside vmap by what only a loop over the draws gets right."""


@unseen
def drop(x: Tensor, mask_shape: tuple[int, ...], p: float, stream: Stream) -> Tensor:
    """Return `x` with entries zeroed with probability `p` and the others scaled by 1 / (1 - p).

    `mask_shape` broadcasts against `x`, from the right. A mask is the comparison of 8 or 16 random
    bits with a threshold, so p is met exactly where it is a multiple of 1/256 and within 2⁻¹⁷
    elsewhere; the scale belongs to the probability met, so that the mean is right.
    Source: Srivastava et al. 2014, section 10 (inverted scaling).

    >>> x = drop(torch.ones(1000), (1000,), 0.5, Stream(torch.tensor(0)))
    >>> sorted(set(x.tolist()))
    [0.0, 2.0]
    """
    kept, share = _mask(mask_shape, p, stream, x.device)
    if share == 0:
        return torch.zeros_like(x)
    zero = torch.zeros((), dtype=x.dtype, device=x.device)
    return torch.where(kept, x * (1 / share), zero)


def _mask(
    shape: tuple[int, ...], p: float, stream: Stream, device: torch.device
) -> tuple[Tensor, float]:
    """Return what to keep, and the probability of that."""
    p = stream.chance(p)
    levels, dtype = (256, torch.uint8) if (256 * p).is_integer() else (65536, torch.int16)
    dropped = round(levels * p)
    bits = stream.integers(shape, dtype, device)
    threshold = dropped if dtype is torch.uint8 else dropped - 32768  # int16 starts below zero
    return bits >= threshold, 1 - dropped / levels


def _plain(mode: Randomness, stream: Stream, func: Function, args: Any, kwargs: Any) -> Any:
    x, p, training, inplace = _arguments(func, args, kwargs)
    if not mode.drops(p, training):
        return func(*args, **kwargs)
    shape = _shape_of_mask(x, func)
    make = _alpha_dropped if func in _ALPHA else drop
    result = make(x, shape, p, stream)
    return mode.overwritten(x, result) if inplace else result


def _arguments(func: Function, args: Any, kwargs: Any) -> tuple[Tensor, float, bool, bool]:
    """Return the input, p, whether dropout is on, and whether it writes to the input."""
    if inspect.isfunction(func):
        bound = _bind(func, args, kwargs).arguments
        return bound["input"], bound["p"], bound["training"], bound["inplace"]
    named = dict(zip(("input", "p", "train"), args, strict=False)) | kwargs
    return named["input"], named["p"], named["train"], func.__name__.endswith("_")


def _shape_of_mask(x: Tensor, func: Function) -> tuple[int, ...]:
    if func in _CHANNELS_OF_ANY:
        kept = 2
    elif func in _CHANNELS:
        kept = x.ndim - (_CHANNELS[func] - 2)  # what is left after the positions
    else:
        return tuple(x.shape)
    if kept not in (1, 2) or x.ndim < kept:
        raise ValueError(
            f"the input of {func.__name__} has shape {tuple(x.shape)}, expected "
            f"{_CHANNELS.get(func, 2)} dimensions, or one fewer without the batch."
        )
    return (*x.shape[:kept], *[1] * (x.ndim - kept))


@unseen
def _alpha_dropped(x: Tensor, mask_shape: tuple[int, ...], p: float, stream: Stream) -> Tensor:
    """Return `x` with entries at SELU's floor, rescaled to mean 0 and variance 1 if it had these.

    Source: Klambauer et al. 2017, section 3.
    """
    kept, share = _mask(mask_shape, p, stream, x.device)
    floor = torch.full((), _SELU_FLOOR, dtype=x.dtype, device=x.device)
    if share == 0:
        return torch.zeros_like(x)
    scale: float = (share * (1 + (1 - share) * _SELU_FLOOR**2)) ** -0.5
    return torch.where(kept, x, floor) * scale - scale * (1 - share) * _SELU_FLOOR


def _attention_layer(
    mode: Randomness, stream: Stream, func: Function, args: Any, kwargs: Any
) -> Any:
    bound = _bind(func, args, kwargs)
    drops = mode.drops(bound.arguments["dropout_p"], bound.arguments["training"])
    if not drops and not mode.vmapped:
        return func(*args, **kwargs)
    bound.arguments["training"] = drops
    with mode:
        return _open_attention_layer(*bound.args, **bound.kwargs)


def _opened(func: Function) -> Function:
    """Return a function of torch with the same code, whose inner calls modes get to see.

    Torch hands a call to one mode after the other until none is left, and only then runs it.
    """
    blind = {
        name: lambda *_: False for name in func.__globals__ if name.startswith("has_torch_function")
    }
    return types.FunctionType(
        func.__code__, func.__globals__ | blind, func.__name__, func.__defaults__
    )


def _attention(mode: Randomness, stream: Stream, func: Function, args: Any, kwargs: Any) -> Any:
    arguments = dict(zip(_ATTENTION_NAMES, args, strict=False)) | kwargs
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
    """Return attention of all draws by one call, for which those that vmap hides are more rows.

    Torch's kernels take any number of rows, but vmap has no rule for them.
    """
    inputs = [query, key, value] if attn_mask is None else [query, key, value, attn_mask]
    hiding = next(filter(is_batchedtensor, inputs), None)
    if hiding is None:
        return func(query, key, value, attn_mask, **options)  # type: ignore[no-any-return]
    draws = get_unwrapped(hiding).shape[maybe_get_bdim(hiding)]
    rows = [_more_rows(each, draws, query) for each in inputs]
    found: Tensor = func(*rows, **options)
    if query.ndim > 2:
        found = found.reshape(draws, -1, *found.shape[1:])
    return _add_batch_dim(found, 0, maybe_get_level(hiding))


def _more_rows(x: Tensor, draws: int, query: Tensor) -> Tensor:
    """Return a batch of attention, or its mask, with the rows of all draws on dimension 0."""
    if is_batchedtensor(x):
        x = get_unwrapped(x).movedim(maybe_get_bdim(x), 0)
    else:
        x = x.expand(draws, *x.shape)
    x = x.reshape(draws, *[1] * (query.ndim + 1 - x.ndim), *x.shape[1:])
    if query.ndim == 2:  # one row
        return x
    return x.expand(-1, len(query), *x.shape[2:]).flatten(0, 1)


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
    weights = query @ key.transpose(-2, -1)
    weights = weights * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(weights.shape[-2:], dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None and attn_mask.dtype is torch.bool:
        weights = weights.masked_fill(~attn_mask, -math.inf)
    elif attn_mask is not None:
        weights = weights + attn_mask
    weights = weights.softmax(-1)
    return drop(weights, tuple(weights.shape), p, stream) @ value


def _recurrent(mode: Randomness, stream: Stream, func: Function, args: Any, kwargs: Any) -> Any:
    # (input, hx | batch_sizes, ..., has_biases, num_layers, dropout, train, bidirectional, ...)
    first = next(place for place, arg in enumerate(args) if isinstance(arg, bool))
    layers, p, training = args[first + 1 : first + 4]
    if layers == 1 or not mode.drops(p, training):
        return func(*args, **kwargs)
    if mode.vmapped:
        raise NeedsLoop("a recurrent layer with dropout")
    return _recurrent_in_layers(stream, func, args[:first], *args[first:])


def _recurrent_in_layers(
    stream: Stream,
    func: Function,
    given: Any,
    has_biases: bool,
    layers: int,
    p: float,
    training: bool,
    *form: bool,
) -> tuple[Tensor, ...]:
    """Return what a recurrent layer does, one of its layers after the other, and dropout between.

    Source: Zaremba et al. 2014, section 3.2, non-recurrent dropout.
    """
    h, *batch_sizes, starts, weights = given
    several = isinstance(starts, (tuple, list))  # of an LSTM: hidden states and cells
    states = [state.chunk(layers) for state in (starts if several else [starts])]
    of_each = len(weights) // layers
    ends = []
    for layer in range(layers):
        if layer:
            h = _dropped_steps(h, batch_sizes, p, stream)
        start = [state[layer] for state in states]
        own = weights[of_each * layer : of_each * (layer + 1)]
        options = own, has_biases, 1, 0.0, False, *form
        with warnings.catch_warnings():  # which cuDNN gives, as these are some of all weights
            warnings.filterwarnings("ignore", "RNN module weights are not part of single")
            h, *end = func(h, *batch_sizes, start if several else start[0], *options)
        ends.append(end)
    return h, *map(torch.cat, zip(*ends, strict=True))


def _dropped_steps(h: Tensor, batch_sizes: list[Tensor], p: float, stream: Stream) -> Tensor:
    """Return `h` with dropout; of packed sequences each entry has a place in all steps."""
    if not batch_sizes:
        return drop(h, tuple(h.shape), p, stream)
    [sizes] = batch_sizes
    shape = (len(sizes), int(sizes[0]), h.shape[-1])
    present = torch.arange(shape[1]) < sizes[:, None]
    return h * drop(h.new_ones(shape), shape, p, stream)[present.to(h.device)]


def _bind(func: Function, args: Any, kwargs: Any) -> inspect.BoundArguments:
    bound = _SIGNATURES[func].bind(*args, **kwargs)
    bound.apply_defaults()
    return bound


DROPOUT: dict[Function, Handler] = {
    **dict.fromkeys((*_PLAIN, *_CHANNELS, *_ALPHA, *_CHANNELS_OF_ANY), _plain),
    **dict.fromkeys(_RECURRENT, _recurrent),
    F.multi_head_attention_forward: _attention_layer,
    F.scaled_dot_product_attention: _attention,
}

_SIGNATURES: dict[Callable[..., Any], inspect.Signature] = {
    func: inspect.signature(func) for func in DROPOUT if inspect.isfunction(func)
}
_open_attention_layer = _opened(F.multi_head_attention_forward)
