"""Finding dropout wherever it hides, and turning it on while everything else stays in eval mode."""

from __future__ import annotations

import inspect
import math
import weakref
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from duda.sampling.masks import dropped
from duda.sampling.randomness import Randomness

__all__ = ["HiddenDropout", "NeedsLoop"]

_PLAIN = (F.dropout, torch.dropout, torch.dropout_)
_CHANNELS = {F.dropout1d: 3, F.dropout2d: 4, F.dropout3d: 5}  # and the inputs' dimensions with N
_OTHERS = (
    F.alpha_dropout,
    F.feature_alpha_dropout,
    torch.alpha_dropout,
    torch.alpha_dropout_,
    torch.feature_dropout,
    torch.feature_dropout_,
    torch.feature_alpha_dropout,
    torch.feature_alpha_dropout_,
)
_ATTENTION_NAMES = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
_RECURRENT = (torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu)


class NeedsLoop(RuntimeError):
    """Raised inside vmap by what only a loop over the draws gets right."""


class HiddenDropout(Randomness):
    """While active, every dropout drops, also in modules that are in eval mode.

    Dropout that a network never calls in eval mode, as in
    `scaled_dot_product_attention(..., dropout_p=p if self.training else 0.0)`, cannot be seen here.

    >>> with HiddenDropout() as mode:
    ...     y = torch.nn.Dropout(0.5).eval()(torch.ones(100))
    >>> mode.found, sorted(set(y.tolist()))
    (1, [0.0, 2.0])
    """

    def __init__(self) -> None:
        super().__init__()
        self._overwritten: dict[int, weakref.ref[Tensor]] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `func`, with its dropout on if it has one."""
        kwargs = kwargs or {}
        if self._overwritten:
            self._check_overwritten(args)
        dropping = _HANDLERS.get(func)
        if dropping is None:
            return func(*args, **kwargs)
        return dropping(self, func, args, kwargs)

    def _plain(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Tensor:
        x, p, inplace = _arguments(func, args, kwargs)
        return self._drop(x, tuple(x.shape), p, inplace)

    def _channels(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Tensor:
        x, p, inplace = _arguments(func, args, kwargs)
        kept = x.ndim - (_CHANNELS[func] - 2)  # what is left after the positions
        if kept not in (1, 2):
            raise ValueError(
                f"the input of {func.__name__} has shape {tuple(x.shape)}, expected "
                f"{_CHANNELS[func]} dimensions, or one fewer without the batch."
            )
        return self._drop(x, (*x.shape[:kept], *[1] * (x.ndim - kept)), p, inplace)

    def _drop(self, x: Tensor, mask_shape: tuple[int, ...], p: float, inplace: bool) -> Tensor:
        self.found += 1
        if p == 0:
            return x
        result = dropped(x, mask_shape, p, self.draw)
        if inplace and self.vmapped:
            # vmap cannot write draws into what they share, so `x` must not be used from now on.
            self._overwritten[id(x)] = weakref.ref(x)
            return result
        return x.copy_(result) if inplace else result

    def _other(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Tensor:
        self.found += 1
        if func in (F.alpha_dropout, F.feature_alpha_dropout):
            bound = _bind(func, args, kwargs)
            return func(*bound.args[:1], p=bound.arguments["p"], training=True)  # type: ignore[no-any-return]
        return func(args[0], args[1], True)  # type: ignore[no-any-return]

    def _attention_layer(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        bound = _bind(func, args, kwargs)
        self.found += 1
        bound.arguments["training"] = True
        if not self.vmapped or bound.arguments["dropout_p"] == 0:
            return func(*bound.args, **bound.kwargs)
        # With weights to return it multiplies, normalises and drops in steps that vmap knows.
        wanted = bound.arguments["need_weights"]
        bound.arguments["need_weights"] = True
        output, weights = func(*bound.args, **bound.kwargs)
        return output, weights if wanted else None

    def _attention(
        self,
        func: Callable[..., Any],
        args: Any,
        kwargs: Any,
    ) -> Tensor:
        arguments = dict(zip(_ATTENTION_NAMES, args, strict=False))
        arguments |= kwargs
        p = arguments.get("dropout_p", 0.0)
        if p == 0:
            return func(*args, **kwargs)  # type: ignore[no-any-return]
        self.found += 1
        if not self.vmapped:
            return func(*args, **kwargs)  # type: ignore[no-any-return]
        if arguments.pop("enable_gqa", False):
            raise NeedsLoop("grouped-query attention with dropout")
        arguments.pop("dropout_p")
        return _attention_in_steps(self, p=p, **arguments)

    def _recurrent(self, func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        # (input, hx | batch_sizes, ..., has_biases, num_layers, dropout, train, bidirectional, ...)
        first = next(place for place, arg in enumerate(args) if isinstance(arg, bool))
        layers, p = args[first + 1], args[first + 2]
        if layers > 1:
            self.found += 1
        if layers > 1 and p > 0 and self.vmapped:
            raise NeedsLoop("a recurrent layer with dropout")
        return func(*args[: first + 3], True, *args[first + 4 :], **kwargs)

    def _check_overwritten(self, args: Any) -> None:
        for arg in args:
            reference = self._overwritten.get(id(arg))
            if reference is not None and reference() is arg:
                raise NeedsLoop("a tensor that in-place dropout has overwritten")


def _arguments(func: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Tensor, float, bool]:
    """Return the input, p and whether to drop in place; whether to train is what we know better."""
    if func in (torch.dropout, torch.dropout_):
        named = dict(zip(("input", "p", "train"), args, strict=False)) | kwargs
        return named["input"], named["p"], func is torch.dropout_
    bound = _bind(func, args, kwargs)
    return bound.arguments["input"], bound.arguments["p"], bound.arguments["inplace"]


def _bind(func: Callable[..., Any], args: Any, kwargs: Any) -> inspect.BoundArguments:
    bound = _SIGNATURES[func].bind(*args, **kwargs)
    bound.apply_defaults()
    return bound


def _attention_in_steps(
    mode: HiddenDropout,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    *,
    p: float,
) -> Tensor:
    """Return dropout(softmax(Q Kᵀ / √d + mask)) V: Vaswani et al. 2017, eq. 1."""
    weights = query @ key.transpose(-2, -1)
    weights = weights * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(weights.shape[-2:], dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None and attn_mask.dtype is torch.bool:
        weights = weights.masked_fill(~attn_mask, -math.inf)
    elif attn_mask is not None:
        weights = weights + attn_mask
    weights = weights.softmax(-1)
    return mode._drop(weights, tuple(weights.shape), p, inplace=False) @ value


_Handler = Callable[[HiddenDropout, Callable[..., Any], Any, Any], Any]

_HANDLERS: dict[Callable[..., Any], _Handler] = {
    **dict.fromkeys(_PLAIN, HiddenDropout._plain),
    **dict.fromkeys(_CHANNELS, HiddenDropout._channels),
    **dict.fromkeys(_OTHERS, HiddenDropout._other),
    **dict.fromkeys(_RECURRENT, HiddenDropout._recurrent),
    F.multi_head_attention_forward: HiddenDropout._attention_layer,
    F.scaled_dot_product_attention: HiddenDropout._attention,
}

_SIGNATURES: dict[Callable[..., Any], inspect.Signature] = {
    func: inspect.signature(func) for func in _HANDLERS if inspect.isfunction(func)
}
